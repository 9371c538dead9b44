"""Has many cells that each sleep, and together longer than a notebook may run."""

from nbformat.v4 import new_code_cell

from tests.grading.probe import RIGHT, cell

ANSWERS = RIGHT
SCORES = {"double_check": 2}
CODES = {"notebook-time"}


def edit(notebook):
    at = notebook.cells.index(cell(notebook, "Stack_check"))
    notebook.cells[at:at] = [new_code_cell("import time; time.sleep(1)") for _ in range(40)]
