"""Prints without end on one line; what comes after it is right."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
import sys
while True:
    sys.stdout.write("x" * 300)
"""
ANSWERS, SCORES = RIGHT, POINTS
CODES = {"output"}
