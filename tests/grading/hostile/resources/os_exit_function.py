"""Leaves by os._exit, when it is called; the other answers are right."""

from tests.grading.probe import RIGHT

ANSWERS = RIGHT | {"Stack": "def Stack():\n    import os; os._exit(0)\n"}
SCORES = {"double_check": 2}
CODES = {"died"}
