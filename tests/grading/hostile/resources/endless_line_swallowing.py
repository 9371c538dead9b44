"""Prints without end, and swallows what is to stop it."""

from tests.grading.probe import RIGHT

FIRST = """
import sys
while True:
    try:
        while True:
            sys.stdout.write("x" * 1000)
    except BaseException:
        pass
"""
ANSWERS = RIGHT
CODES = {"output"}
