"""Waits for somebody to type."""

from tests.grading.probe import POINTS, RIGHT

FIRST = "input('And your name? ')"
ANSWERS = RIGHT | {"double": "def double(x):\n    return x + int(input('And? '))\n"}
SCORES = POINTS | {"double_check": 0}
