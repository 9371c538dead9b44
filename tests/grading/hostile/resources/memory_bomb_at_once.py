"""Asks for a terabyte at once, which it is refused; what comes after it is right."""

from tests.grading.probe import POINTS, RIGHT

FIRST = "bytes(1 << 40)"
ANSWERS, SCORES = RIGHT, POINTS
