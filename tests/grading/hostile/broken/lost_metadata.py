"""Was saved by a program that drops nbgrader's metadata."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS
CODES = {"metadata-restored"}


def edit(notebook):
    for cell in notebook.cells:
        cell.metadata.clear()
