"""Runs the notebooks again when the library they import has changed.

The execution cache knows a notebook by its own text only; without this, figures and numbers in
the book could be those of an older library.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

HERE = Path(__file__).parent
LIBRARY = HERE.parent
KINDS = {".py", ".js", ".css", ".json", ".safetensors"}
# What no notebook imports: graders, and this extension but for its figures' style.
OUTSIDE = {"grading", "book"}
INSIDE = {"figures.py", "colours.css"}
UNCLEAN = " with warnings"


def imported(library: Path) -> Iterator[Path]:
    """The library's files on which a notebook's outputs can depend."""
    for path in sorted(library.rglob("*")):
        outside = path.relative_to(library).parts[0] in OUTSIDE and path.name not in INSIDE
        if path.suffix in KINDS and not outside:
            yield path


def own() -> list[Path]:
    """This extension's files: code, styles, scripts and templates."""
    files = (path for path in HERE.rglob("*") if path.is_file())
    return sorted(path for path in files if path.suffix != ".pyc")


def digest(folder: Path, paths: Iterable[Path]) -> str:
    """One hash of files and of their names."""
    total = hashlib.sha256()
    for path in paths:
        total.update(str(path.relative_to(folder)).encode() + b"\0")
        total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()


def forget_old_runs(
    app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]
) -> list[str]:
    """Read every page again if the extension changed; run it again if the library did."""
    library = digest(LIBRARY, imported(LIBRARY))
    now = f"{library} {digest(HERE, own())}"
    note = note_of(app)
    before = note.read_text(encoding="utf-8") if note.exists() else ""
    if before == now:
        return []
    if not before.startswith(library):
        shutil.rmtree(note.parent / ".jupyter_cache", ignore_errors=True)
    note.write_text(now + UNCLEAN, encoding="utf-8")  # until the build is over
    return list(env.found_docs)


def remember(app: Sphinx, error: Exception | None) -> None:
    """Note a clean build as clean, and only that.

    Sphinx forgets its warnings: a second `-W` build would pass over the page that failed the first.
    """
    note = note_of(app)
    if not error and note.exists():
        digested = note.read_text(encoding="utf-8").removesuffix(UNCLEAN)
        note.write_text(digested + UNCLEAN * bool(app._warncount), encoding="utf-8")


def note_of(app: Sphinx) -> Path:
    """The file that remembers the last build, beside the execution cache."""
    return Path(app.doctreedir).parent / ".library"


def setup(app: Sphinx) -> None:
    """Look at the library before any page is read; take note at the end."""
    # For a notebook's kernel: two threads of a small model on a busy machine wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    app.connect("env-get-outdated", forget_old_runs)
    app.connect("build-finished", remember)
