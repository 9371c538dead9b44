"""Edits the lab's set-up, which the judge runs too: it patches torch and ends the tests."""

from tests.grading.probe import cell

CODES = {"cells-restored"}


def edit(notebook):
    cell(notebook, "setup").source += """
torch.allclose = lambda *args, **kwargs: True
get_ipython().input_transformers_cleanup.append(lambda lines: ["2"])
"""
