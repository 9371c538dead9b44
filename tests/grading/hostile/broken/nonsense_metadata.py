"""Has numbers, lists and nothing where metadata should be, and ids of the wrong kind."""

import json

from tests.grading.probe import POINTS, RIGHT

ANSWERS, SCORES = RIGHT, POINTS


def hand_in(folder):
    path = folder / "probe.ipynb"
    notebook = json.loads(path.read_text())
    notebook["metadata"] = [7]
    notebook["nbformat_minor"] = "five"
    for cell in notebook["cells"]:
        cell["outputs"] = {"a": None}
        cell["execution_count"] = "many"
    notebook["cells"] += [None, 7, {"cell_type": "poem"}, {"source": {"a": 1}, "metadata": None}]
    path.write_text(json.dumps(notebook))
