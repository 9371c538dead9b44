"""Has a syntax error in one answer; the others are right."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS = RIGHT | {"Stack": "class Stack(:\n    def push(self\n"}
SCORES = POINTS | {"Stack_check": 0}
