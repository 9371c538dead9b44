"""Sleeps for ever in a cell, and swallows every KeyboardInterrupt."""

from tests.grading.probe import RIGHT

FIRST = """
import time
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""
ANSWERS = RIGHT
CODES = {"cell-time"}
