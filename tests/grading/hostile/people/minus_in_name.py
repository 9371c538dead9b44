"""Has a name that a command would take for an option."""

from tests.grading.probe import POINTS, RIGHT

STUDENT = "--force"
ANSWERS, SCORES = RIGHT, POINTS
