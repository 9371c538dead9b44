"""Has a script for a name."""

from tests.grading.probe import POINTS, RIGHT

STUDENT = "<script>alert(1)<&script>"
ANSWERS, SCORES = RIGHT, POINTS
UNSEEN = ("<script>alert",)
