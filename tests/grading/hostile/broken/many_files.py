"""Has a thousand files beside the notebook, which is right."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"too-large"}


def hand_in(folder):
    for number in range(1000):
        (folder / f"{number}.txt").write_text("")
