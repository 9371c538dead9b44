"""Has null bytes and half characters in its answers."""

import json

ANSWERS = {"claim": "def claim():\n    return '\\ud800'\n"}
CODES = {"score"}


def hand_in(folder):
    path = folder / "probe.ipynb"
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if "def double" in "".join(cell["source"]):
            cell["source"] = "\0\ud800 def double"
    path.write_text(json.dumps(notebook))
