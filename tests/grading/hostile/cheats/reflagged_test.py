"""Marks the tests as answers that are not locked, and its answers as locked tests."""

from tests.grading.probe import POINTS, cell

CODES = {"metadata-restored"}


def edit(notebook):
    for name in POINTS:
        cell(notebook, name).metadata.nbgrader.update(grade=False, locked=False, solution=True)
        answer = cell(notebook, name.removesuffix("_check")).metadata.nbgrader
        answer.update(grade=True, locked=True, solution=False, points=100)
