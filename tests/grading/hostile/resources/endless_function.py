"""Loops for ever when it is called; the other answers are right."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS = RIGHT | {"Stack": "def Stack():\n    while True: pass\n"}
SCORES = POINTS | {"Stack_check": 0}
CODES = {"cell-time"}
