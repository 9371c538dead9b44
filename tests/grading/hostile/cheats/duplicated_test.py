"""Has every test twice, first as `pass`."""

import copy

from tests.grading.probe import POINTS, cell

CODES = {"cells-restored"}


def edit(notebook):
    for name in POINTS:
        test = cell(notebook, name)
        twin = copy.deepcopy(test)
        twin.source, twin.id = "pass", f"{name}-twin"
        notebook.cells.insert(notebook.cells.index(test), twin)
