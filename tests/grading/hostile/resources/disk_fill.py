"""Fills the disk, file by file."""

from tests.grading.probe import RIGHT

FIRST = """
import itertools, time
for number in itertools.count():
    try:
        with open(f"/tmp/{number}", "wb") as file:
            file.write(bytes(4 << 20))
    except OSError:
        pass
    time.sleep(0.01)
"""
ANSWERS = RIGHT
CODES = {"disk"}
