"""Moves the tests to the top, and right answers that are called later behind."""

from tests.grading.probe import POINTS, cell

CODES = {"cells-restored"}


def edit(notebook):
    for name in POINTS:
        notebook.cells.remove(test := cell(notebook, name))
        notebook.cells.insert(0, test)
