"""Has a file of 200 MB beside the notebook, which is right."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"too-large"}


def hand_in(folder):
    with (folder / "data.bin").open("wb") as file:
        file.truncate(200 << 20)
