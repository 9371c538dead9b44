"""Lacks the first cells, the set-up among them, and one answer."""

from tests.grading.probe import POINTS, RIGHT, cell

ANSWERS = RIGHT
SCORES = POINTS | {"Stack_check": 0}
CODES = {"cells-restored"}


def edit(notebook):
    notebook.cells.remove(cell(notebook, "Stack"))
    del notebook.cells[:2]
