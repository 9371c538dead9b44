"""Comes in a zip archive, as a learning platform hands it out."""

import zipfile

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS


def archive(path, notebook):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("probe.ipynb", notebook)
