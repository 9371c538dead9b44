"""Has a time stamp of 50 MB."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"timestamp"}


def hand_in(folder):
    with (folder / "timestamp.txt").open("wb") as file:
        file.truncate(50 << 20)
