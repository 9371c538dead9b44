"""Drops from the stylesheets what no page of the book can use.

The theme's stylesheet is written for every site; this book uses a tenth of it, and nothing of the
icon font inside it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from sphinx.application import Sphinx

from tutor_lib.book.pages import STYLES

MARK = "/* only what this book uses */\n"
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
WORD = re.compile(r"[\w-]+")
NAME = re.compile(r"[.#](-?[A-Za-z_][\w-]*)")
FUNCTION = re.compile(r":[\w-]+\([^()]*(?:\([^()]*\)[^()]*)*\)")
ICON_FONT = re.compile(r"(\.fa[\w-]*)+(:{1,2}[\w-]+)?")
# A string or a data URL may hold braces, commas and semicolons.
OPAQUE = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|url\([^)\"']*\)")

# Theme files that no page loads any more.
LEFT_OVER = ("vendor", "locales", "images", "scripts/bootstrap.js", "scripts/fontawesome.js",
             "scripts/bootstrap.js.LICENSE.txt", "scripts/fontawesome.js.LICENSE.txt",
             "styles/theme.css", "webpack-macros.html", "sbt-webpack-macros.html",
             "design-tabs.js", "file.png", "plus.png", "minus.png")  # fmt: skip


def rules(css: str) -> Iterator[tuple[str, str | None]]:
    """The rules of a stylesheet: what stands before the braces, and inside (None for `@x y;`)."""
    blank = OPAQUE.sub(lambda match: "x" * len(match[0]), css)  # same length, nothing special
    start = 0
    while found := re.compile("[{;]").search(blank, start):
        head = css[start : found.start()].strip()
        if found[0] == ";":
            start = found.end()
            yield head, None
        else:
            end = closing(blank, found.end())
            start = end + 1
            yield head, css[found.end() : end]


def closing(blank: str, position: int) -> int:
    """Where the brace closes that was open before `position`."""
    depth = 1
    for brace in re.compile("[{}]").finditer(blank, position):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    raise ValueError("a stylesheet has an open brace")


def purge(css: str, words: set[str]) -> str:
    """The rules of which every class and id is among the words of the pages and scripts."""
    return "".join(kept(head, body, words) for head, body in rules(COMMENT.sub("", css)))


def kept(head: str, body: str | None, words: set[str]) -> str:
    """One rule, less the selectors that match nothing; empty if none is left."""
    if body is None:
        return f"{head};"
    if head.startswith(("@media", "@supports", "@layer", "@container")):
        inner = purge(body, words)
        return f"{head}{{{inner}}}" if inner else ""
    if head.startswith("@") or "--fa-" in body:
        icons = "Font Awesome" in body or ("--fa-" in body and ":root" in head)
        return "" if icons else f"{head}{{{body}}}"
    selectors = [selector for selector in split(head) if used(selector, words)]
    return f"{','.join(selectors)}{{{body}}}" if selectors else ""


def split(head: str) -> list[str]:
    """The selectors of a rule; a comma inside brackets parts nothing."""
    hidden = FUNCTION.sub(lambda match: match[0].replace(",", "\0"), head)
    return [part.strip().replace("\0", ",") for part in hidden.split(",")]


def used(selector: str, words: set[str]) -> bool:
    """Whether all names in a selector occur; what `:not()` or `:is()` holds does not count."""
    plain = FUNCTION.sub("", selector).replace("\\", "")
    if ICON_FONT.fullmatch(plain):
        return False
    return all(name in words for name in NAME.findall(OPAQUE.sub("", plain)))


def words_of(out: Path) -> set[str]:
    """Every word in the pages and in the scripts that they load, but for the trained model."""
    files = [*out.rglob("*.html"), *(out / "_static").rglob("*.js")]
    read = (file.read_text(encoding="utf-8") for file in files if file.name != "storyteller.js")
    return set(WORD.findall(" ".join(read)))


def remove(path: Path) -> None:
    """Remove a file or a folder of files, where it is."""
    if path.is_dir():
        for inner in path.iterdir():
            remove(inner)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def purge_book(app: Sphinx, error: Exception | None) -> None:
    """Purge each stylesheet that Sphinx has copied afresh; remove what is loaded no more."""
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    for path in [
        *(static / name for name in LEFT_OVER),
        *static.rglob("*.map"),
        *static.rglob("*.LICENSE.txt"),
    ]:
        remove(path)
    theirs = [path for path in static.rglob("*.css") if path.name not in STYLES]
    sheets = {path: path.read_text(encoding="utf-8") for path in theirs}
    fresh = {path: css for path, css in sheets.items() if not css.startswith(MARK)}
    words = words_of(Path(app.outdir)) if fresh else set()
    for path, css in fresh.items():
        path.write_text(MARK + purge(css, words), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Purge when all pages are written."""
    app.connect("build-finished", purge_book)
