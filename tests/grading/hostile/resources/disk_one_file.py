"""Writes one file without end, which is cut off; what comes after it is right."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
with open("large", "wb") as file:
    while True:
        file.write(bytes(1 << 20))
"""
ANSWERS, SCORES = RIGHT, POINTS
