"""Deletes the tests."""

from tests.grading.probe import POINTS, cell

CODES = {"cells-restored"}


def edit(notebook):
    for name in POINTS:
        notebook.cells.remove(cell(notebook, name))
