"""Names a kernel that nobody has."""

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS


def edit(notebook):
    notebook.metadata["kernelspec"] = {"name": "julia-0.3", "display_name": "J", "language": "j"}
    notebook.metadata["language_info"] = {"name": "julia"}
