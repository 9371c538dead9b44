"""Adds test cells of its own, worth many points."""

from nbformat.v4 import new_code_cell

CODES = {"metadata-restored"}


def edit(notebook):
    about = {"grade": True, "grade_id": "bonus", "locked": True, "points": 50,
             "schema_version": 3, "solution": False, "task": False}  # fmt: skip
    notebook.cells.append(new_code_cell("50", metadata={"nbgrader": about}))
