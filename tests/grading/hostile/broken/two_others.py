"""Has two notebooks, neither of the lab's name."""

import shutil

from tests.grading.probe import RIGHT

ANSWERS = RIGHT
CODES = {"several", "no-notebook"}


def hand_in(folder):
    shutil.copy(folder / "probe.ipynb", folder / "one.ipynb")
    (folder / "probe.ipynb").rename(folder / "other.ipynb")
