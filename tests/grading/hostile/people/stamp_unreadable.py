"""Has a time stamp that is none."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"timestamp"}


def hand_in(folder):
    (folder / "timestamp.txt").write_text("yesterday, I swear\n")
