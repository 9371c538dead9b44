"""Has the lab's set-up twice, and unlocked: the first patches what the tests need."""

import copy

from tests.grading.probe import cell

CODES = {"cells-restored", "metadata-restored"}


def edit(notebook):
    setup = cell(notebook, "setup")
    twin = copy.deepcopy(setup)
    twin.source, twin.id = 'get_ipython().ast_transformers.append("broken")', "twin"
    notebook.cells.insert(0, twin)
    setup.metadata.nbgrader["locked"] = False
    twin.metadata.nbgrader["locked"] = False
