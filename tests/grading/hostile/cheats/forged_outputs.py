"""Hands its tests in with outputs: scores, and no errors."""

from nbformat.v4 import new_output

from tests.grading.probe import POINTS, cell


def edit(notebook):
    for name, points in POINTS.items():
        about = {"data": {"text/plain": str(points)}, "execution_count": 1}
        cell(notebook, name).outputs = [new_output("execute_result", **about)]
        cell(notebook, name).execution_count = 1
