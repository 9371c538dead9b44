"""Gives a test that it fails the name of one that it passes."""

from tests.grading.probe import RIGHT, cell

ANSWERS = {"claim": RIGHT["claim"]}
SCORES = {"claim_check": 2}
CODES = {"cells-restored"}


def edit(notebook):
    easy, hard = cell(notebook, "claim_check"), cell(notebook, "Stack_check")
    easy.metadata, hard.metadata = hard.metadata, easy.metadata
