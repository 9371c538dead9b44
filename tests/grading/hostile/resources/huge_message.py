"""Sends one message of 20 MB; what comes after it is right."""

from tests.grading.probe import POINTS, RIGHT

FIRST = "display({'text/plain': 'x' * (20 << 20)}, raw=True)"
ANSWERS, SCORES = RIGHT, POINTS
CODES = {"output"}
