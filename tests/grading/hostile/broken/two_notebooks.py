"""Has two notebooks; the one of the lab's name is right."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"several"}


def hand_in(folder):
    (folder / "a-draft.ipynb").write_text("{")
