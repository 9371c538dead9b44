"""Has a name that is a pattern for others' names."""

from tests.grading.probe import POINTS, RIGHT

STUDENT = "[a-z]*"
ANSWERS, SCORES = RIGHT, POINTS
