"""Gives its tests a hundred points each, and those that it fails none."""

from tests.grading.probe import POINTS, cell

ANSWERS = {"claim": "def claim():\n    return 100\n"}
CODES = {"metadata-restored", "score"}


def edit(notebook):
    for name in POINTS:
        cell(notebook, name).metadata.nbgrader["points"] = 100 if name == "claim_check" else 0
