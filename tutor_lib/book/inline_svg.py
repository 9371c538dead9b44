"""Puts a notebook's SVG figures into the page itself, where the theme's colours reach them."""

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

from tutor_lib.book.figures import COLOURS

logger = logging.getLogger(__name__)
IMAGE = re.compile(r'<img(?=[^>]*\ssrc="[^"]*?([^"/]+\.svg)")[^>]*>')
ALT = re.compile(r'\salt="([^"]*)"')
UNWANTED = re.compile(r"<metadata>.*?</metadata>|<style\b.*?</style>|<!--.*?-->", re.DOTALL)
COLOUR = re.compile("|".join(COLOURS.values()))
NO_ALT = "a figure has no alt text; give it by `mystnb: image: alt:`"
NAMES = {colour: name for name, colour in COLOURS.items()}


def inline(svg: str, alt: str) -> str:
    """Matplotlib's SVG as one element of the page, read aloud as its `alt`."""
    svg = UNWANTED.sub("", svg[svg.index("<svg") :])
    # The groups' ids (axes_1, patch_2, …) come again in the next figure; nothing refers to them.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = COLOUR.sub(lambda match: f"var(--tutor-{NAMES[match[0]]})", svg)
    width, height = re.findall(r'viewBox="0 0 (\S+) (\S+)"', svg)[0]
    head = f'<svg class="tutor-figure" role="img" aria-label="{alt}" viewBox="0 0 {width} {height}"'
    head += f' style="width:{float(width):.0f}pt">'
    return f'<span class="figure-scroll">{head}{svg[svg.index(">") + 1 :].strip()}</span>'


def inline_figures(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Replace each `<img>` of a figure that a notebook drew."""
    sources = {name: source for source, name in app.builder.images.items()}

    def replace(match: re.Match[str]) -> str:
        source = Path(app.srcdir, sources.get(match[1], ""))
        if "jupyter_execute" not in source.parts:
            return match[0]
        found = ALT.search(match[0])
        alt = found[1] if found else ""
        if not alt or html.unescape(alt).endswith(match[1]):
            logger.warning(NO_ALT, location=page)
        return inline(source.read_text(encoding="utf-8"), alt)

    if doctree is not None and "body" in context:
        context["body"] = IMAGE.sub(replace, context["body"])


def setup(app: Sphinx) -> None:
    """Look at each page before it is written."""
    app.connect("html-page-context", inline_figures)
