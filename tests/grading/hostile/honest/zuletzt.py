"""Comes last in the batch, with right answers, and letters that are not English."""

from tests.grading.probe import POINTS, RIGHT

STUDENT = "zürn-łukasz-李"
ANSWERS, SCORES = RIGHT, POINTS
