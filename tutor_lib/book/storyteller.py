"""Puts the trained model into the book, as a script that a demo loads once."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sphinx.application import Sphinx

MODULE = "tutor_lib.demos.weights"


def write_storyteller(app: Sphinx, error: Exception | None) -> None:
    """Write `_static/storyteller.js`; leave it alone if it is the same already."""
    if error or app.builder.format != "html" or not find_spec(MODULE):
        return
    script = import_module(MODULE).storyteller_script()
    path = Path(app.outdir) / "_static" / "storyteller.js"
    if not path.exists() or path.read_text(encoding="utf-8") != script:
        path.write_text(script, encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Write the script with the pages."""
    app.connect("build-finished", write_storyteller)
