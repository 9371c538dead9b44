"""Loops for ever in a cell; what comes after it is right."""

from tests.grading.probe import POINTS, RIGHT

FIRST = "while True: pass"
ANSWERS, SCORES = RIGHT, POINTS
CODES = {"cell-time"}
