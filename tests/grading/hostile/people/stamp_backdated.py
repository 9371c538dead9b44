"""Has a time stamp from long before its notebook was written."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"timestamp"}


def hand_in(folder):
    (folder / "timestamp.txt").write_text("2015-02-02 15:58:23.948203 UTC\n")
