"""Sends a million messages; what comes after it is right."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
for number in range(1_000_000):
    display(number)
"""
ANSWERS, SCORES = RIGHT, POINTS
CODES = {"output"}
