"""Hands in links to the gradebook, another student's file and the root beside its notebook."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
import glob
for path in glob.glob("**", recursive=True):
    try:
        print(path, open(path, "rb").read(2000))
    except OSError as error:
        print(error)
"""
ANSWERS, SCORES = RIGHT, POINTS
CODES = {"refused-file"}


def hand_in(folder):
    (folder / "a.db").symlink_to("../../../gradebook.db")
    (folder / "diary.txt").symlink_to("../../with_files/probe/notes/diary.txt")
    (folder / "all").symlink_to("/")
    (folder / "loop").symlink_to("loop")
    (folder / "timestamp.txt").symlink_to("../../../solutions/probe/probe.md")
