"""Has a time stamp from the future."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"timestamp"}


def hand_in(folder):
    (folder / "timestamp.txt").write_text("2999-12-31 23:59:59 UTC\n")
