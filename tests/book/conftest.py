"""Pages opened as a reader opens them: from disk or a local server, with no network."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.served import served as on_a_server

CONF = """
project = "Sample"
extensions = ["myst_parser", "sphinx_book_theme", "tutor_lib.book"]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence"]
html_theme = "sphinx_book_theme"
html_theme_options = {"navbar_persistent": []}
"""


@pytest.fixture(scope="session")
def served(book: Path) -> Iterator[str]:
    """The address of the built book on a local server."""
    with on_a_server(book) as address:
        yield f"{address}/"


@pytest.fixture(scope="session")
def address(book: Path, request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Where the built book begins: on disk or on the local server."""
    return lambda kind: book.as_uri() + "/" if kind == "disk" else request.getfixturevalue("served")


@dataclass
class Visit:
    """A page, what it asked for, and what went wrong on it."""

    page: Any
    inside: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def visit(browser: Any) -> Callable[..., AbstractContextManager[Visit]]:
    """`with visit(home, "chapters/intro.html") as seen:`; requests away from `home` fail."""

    @contextmanager
    def visiting(home: str, path: str, width: int = 1280, scheme: str = "light") -> Iterator[Visit]:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        seen = Visit(context.new_page())

        def note(route: Any) -> None:
            url = route.request.url
            (seen.inside if url.startswith(home) else seen.outside).append(url)
            route.continue_() if url.startswith(home) else route.abort()

        context.route(lambda url: not url.startswith(("data:", "blob:")), note)
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("requestfailed", lambda request: seen.errors.append(f"failed {request.url}"))
        seen.page.on("console", lambda m: m.type == "error" and seen.errors.append(m.text))
        seen.page.goto(home + path, wait_until="load")
        yield seen
        context.close()

    return visiting


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], SimpleNamespace]:
    """Builds one page of Markdown with this extension; tells the folder, the HTML, the warnings."""

    def building(markdown: str, folder: Path | None = None) -> SimpleNamespace:
        folder = folder or tmp_path_factory.mktemp("sample")
        (folder / "src").mkdir(exist_ok=True)
        (folder / "src" / "conf.py").write_text(CONF)
        (folder / "src" / "index.md").write_text(markdown)
        paths = [str(folder / name) for name in ("doctrees", "src", "html")]
        command = [sys.executable, "-m", "sphinx", "-q", "-b", "html", "-d", *paths]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        html = (folder / "html" / "index.html").read_text(encoding="utf-8")
        return SimpleNamespace(folder=folder, html=html, warnings=done.stderr)

    return building
