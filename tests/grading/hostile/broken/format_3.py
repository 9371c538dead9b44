"""Was saved in notebook format 3, of 2014."""

import nbformat

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS


def hand_in(folder):
    path = folder / "probe.ipynb"
    old = nbformat.convert(nbformat.read(path, as_version=4), 3)
    nbformat.write(old, path, version=3)
