"""Puts the trained model into the book, as a script that a demo loads once."""

from pathlib import Path

from sphinx.application import Sphinx

LIBRARY = Path(__file__).parents[1]
SOURCES = (
    LIBRARY / "assets" / "storyteller.safetensors",
    LIBRARY / "assets" / "tokenizer.json",
    LIBRARY / "demos" / "weights.py",
)


def outdated(script: Path) -> bool:
    """Whether the script is missing or older than what it is made from."""
    if not script.exists():
        return True
    return any(source.stat().st_mtime > script.stat().st_mtime for source in SOURCES)


def write_storyteller(app: Sphinx, error: Exception | None) -> None:
    """Write `_static/storyteller.js` if the model changed."""
    path = Path(app.outdir) / "_static" / "storyteller.js"
    if error or app.builder.format != "html" or not outdated(path):
        return
    # Here, because it brings torch, for which a build with nothing to do should not wait.
    from tutor_lib.demos.weights import storyteller_script

    path.write_text(storyteller_script(), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Write the script with the pages."""
    app.connect("build-finished", write_storyteller)
