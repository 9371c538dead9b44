"""Has an error in a cell of its own: what is right still counts."""

from tests.grading.probe import POINTS, RIGHT

FIRST = "1 / 0"
ANSWERS, SCORES = RIGHT, POINTS
