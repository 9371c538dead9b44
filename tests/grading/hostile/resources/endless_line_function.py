"""Prints without end when it is called; the other answers are right."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS = RIGHT | {"Stack": "def Stack():\n    while True: print('x' * 1000)\n"}
SCORES = POINTS | {"Stack_check": 0}
CODES = {"output"}
