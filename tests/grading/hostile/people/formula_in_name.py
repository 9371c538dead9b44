"""Has a formula for a name, which a spreadsheet would run."""

from tests.grading.probe import POINTS, RIGHT

STUDENT = "=cmd|' C calc'!A0"
ANSWERS, SCORES = RIGHT, POINTS
