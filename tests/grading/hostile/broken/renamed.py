"""Has another name for its notebook."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"renamed"}


def hand_in(folder):
    (folder / "probe.ipynb").rename(folder / "probe (1) FINAL.ipynb")
