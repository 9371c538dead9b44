"""Takes more memory than it may, little by little."""

from tests.grading.probe import RIGHT

FIRST = """
import time
taken = []
while True:
    taken.append(bytearray(20 << 20))
    time.sleep(0.01)
"""
ANSWERS = RIGHT
CODES = {"memory"}
