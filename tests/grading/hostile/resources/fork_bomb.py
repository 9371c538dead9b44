"""Forks, and its children fork."""

from tests.grading.probe import RIGHT

FIRST = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        pass
    time.sleep(0.1)
"""
ANSWERS = RIGHT
CODES = {"processes"}
