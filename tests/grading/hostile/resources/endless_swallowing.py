"""Loops for ever in a cell, and swallows every KeyboardInterrupt."""

from tests.grading.probe import RIGHT

FIRST = """
while True:
    try:
        while True: pass
    except BaseException:
        pass
"""
ANSWERS = RIGHT
CODES = {"cell-time"}
