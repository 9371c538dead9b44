"""Prints without end, and swallows what is to stop it."""

from tests.grading.probe import RIGHT

FIRST = """
import sys, time
while True:
    try:
        while True:
            sys.stdout.write("x" * 1000)
            time.sleep(0.001)
    except BaseException:
        pass
"""
ANSWERS = RIGHT
CODES = {"output"}
