"""Crashes with a segmentation fault, when it is called; the other answers are right."""

from tests.grading.probe import RIGHT

ANSWERS = RIGHT | {"Stack": "def Stack():\n    import ctypes; ctypes.string_at(0)\n"}
SCORES = {"double_check": 2}
CODES = {"died"}
