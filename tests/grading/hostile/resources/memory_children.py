"""Takes more memory than it may by its children, each of which takes little."""

from tests.grading.probe import RIGHT

FIRST = """
import os, time
for _ in range(8):
    if os.fork() == 0:
        kept = bytearray(80 << 20)
        for page in range(0, len(kept), 4096):
            kept[page] = 1
        time.sleep(600)
time.sleep(600)
"""
ANSWERS = RIGHT
CODES = {"memory"}
