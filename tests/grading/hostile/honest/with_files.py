"""Reads a file that was handed in beside the notebook, which is nobody else's to read."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
diary = open("notes/diary.txt").read()
factor = len(diary.split())
"""
ANSWERS = RIGHT | {"double": "def double(x):\n    return factor * x\n"}
SCORES = POINTS


def hand_in(folder):
    (folder / "notes").mkdir()
    (folder / "notes" / "diary.txt").write_text("tulip tulip\n")
