"""What a cell shows in the judge's shell, held to what Jupyter's own kernel shows."""

import json
import os
import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from tutor_lib.grading.protocol.shell import Shown

CELLS = [
    "print(1); print(2)\n3",
    "import sys\nprint('out'); print('err', file=sys.stderr); print('out')",
    "1 / 0",
    "def f(:",
    "raise KeyError('k')",
    "from IPython.display import HTML, display\ndisplay(HTML('<b>'), {'a': 1})\n'last'",
    "display(1, display_id='d'); update_display(2, display_id='d')",
    "import asyncio\nawait asyncio.sleep(0)\n5",
    "{1: 2};",
    "%matplotlib inline\nimport matplotlib.pyplot as plt\nplt.plot([1, 2])\nNone",
    "%%capture said\nprint('kept')",
    "said.stdout",
    "import warnings; warnings.warn('hm')",
    "x = [1, 2]\nx.append(3) or x",
    "get_ipython().run_line_magic('who', 'int')",
    "raise SystemExit",
    "class Odd:\n    def _repr_png_(self): return b'\\x89PNG'\n"
    "    def __repr__(self): return 'odd'\nOdd()",
    "_ == 3",
    "",
]

SHELL = """
import json, sys
from jupyter_client.jsonutil import json_default
from tutor_lib.grading.protocol.shell import Shell

shell = Shell.start()
ran = [shell.run(cell, 10**7) for cell in json.load(sys.stdin)]
print(json.dumps([[passed, shown.outputs] for passed, shown in ran], default=json_default))
"""


@pytest.fixture(scope="module")
def ours():
    done = subprocess.run(
        [sys.executable, "-c", SHELL], input=json.dumps(CELLS), capture_output=True, text=True,
        env=os.environ | {"MPLBACKEND": "agg"}, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def jupyters():
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    NotebookClient(notebook, allow_errors=True, kernel_name="python3").execute()
    return [cell.outputs for cell in notebook.cells]


def _plain(output):
    """Without what may differ: counts, the frames' names, where a figure's bytes were drawn."""
    output = dict(output)
    for key in ("execution_count", "traceback", "metadata"):
        output.pop(key, None)
    for key in ("evalue", "text"):
        if key in output:  # names of files that cells have
            output[key] = output[key].split("(")[0].split(":")[-1]
    if "image/png" in (data := dict(output.get("data", {}))):
        output["data"] = data | {"image/png": data["image/png"].strip()[:20]}
    return output


@pytest.mark.parametrize("number", range(len(CELLS)))
def test_it_shows_what_jupyter_shows(ours, jupyters, number):
    passed, outputs = ours[number]
    theirs = [o for o in jupyters[number] if "To exit: use" not in str(o)]
    found = [o for o in outputs if "To exit: use" not in str(o)]
    if "warn" in CELLS[number]:  # the same text; the file's name comes first
        assert found[0]["text"].endswith(
            "UserWarning: hm\n  import warnings; warnings.warn('hm')\n"
        )
        found, theirs = found[1:], theirs[1:]
    if number == 1:  # Jupyter sends what a stream has gathered, here all of it
        assert [o["text"] for o in found] == ["out\n", "err\n", "out\n"]
        assert sorted(o["text"] for o in theirs) == ["err\n", "out\nout\n"]
        return
    if number != 6:  # Jupyter puts the second in the first's place; nothing is put in place here
        assert [_plain(o) for o in found] == [_plain(o) for o in theirs]
    assert passed == all(o["output_type"] != "error" for o in jupyters[number])


def test_what_json_does_not_know_is_an_error():
    with pytest.raises(TypeError, match="not JSON"):
        Shown(100).add({"output_type": "display_data", "data": {"a/b": object()}})


def test_text_goes_on_where_it_was():
    shown = Shown(1000)
    for name, text in (("stdout", "a"), ("stdout", "b"), ("stderr", "c"), ("stdout", "d")):
        shown.add({"output_type": "stream", "name": name, "text": text})
    assert [(o["name"], o["text"]) for o in shown.outputs] == [
        ("stdout", "ab"), ("stderr", "c"), ("stdout", "d")
    ]  # fmt: skip
