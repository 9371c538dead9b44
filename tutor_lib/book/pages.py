"""What every page loads, and what it does without."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config

from tutor_lib.book.icons import FAVICON

HERE = Path(__file__).parent
STYLES = ("colours.css", "icons.css", "math-font.css", "math.css", "book.css")
# sphinx-design's script only keeps tabs of one name in step from page to page.
UNUSED = {"design-tabs.js"}
# A page opened from disk may not read the others to quote them beside a search result.
NO_QUOTES = 'if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;'


def add_folders(app: Sphinx, config: Config) -> None:
    """Our templates come before the theme's; our styles are copied with its own."""
    config.templates_path.insert(0, str(HERE / "templates"))
    config.html_static_path.append(str(HERE / "static"))


def trim(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leave out the scripts and roles that a page of this book has no use for."""
    # A list of sources whose entries hold links is no list to a screen reader: they are paragraphs.
    if "citation-list" in (body := context.get("body", "")):
        context["body"] = body.replace(' role="list"', "").replace(' role="doc-biblioentry"', "")
    context["favicon"] = quote(FAVICON)
    context["script_files"] = [script for script in context["script_files"] if needed(script)]


def needed(script: Any) -> bool:
    """Whether a page needs a script; the state of a demo, for one, is in the demo itself."""
    name = Path(getattr(script, "filename", None) or "").name
    kind = getattr(script, "attributes", {}).get("type")
    return name not in UNUSED and kind != "application/vnd.jupyter.widget-state+json"


def setup(app: Sphinx) -> None:
    """Register the folders, our styles and script, and the clearing up."""
    app.connect("config-inited", add_folders)
    for style in STYLES:
        app.add_css_file(style, priority=900)  # after the theme's
    app.add_js_file(None, body=NO_QUOTES, priority=300)  # after Sphinx has set its options
    app.add_js_file("book.js", loading_method="defer")
    app.connect("html-page-context", trim, priority=900)
