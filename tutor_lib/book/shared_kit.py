"""What the demos of a page share stands in it once: their kit, and the colours.

Each demo is whole by itself, as JupyterLab needs it. Compression does not find the copies: they
lie further apart than it looks back. An import map gives the kit a name, also in a page from disk.
"""

import json
import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

NAME = "tutor-kit"
# As tutor_lib.demos writes them. To import it would take longer than to build a page.
STYLE = re.compile(r'<div class="tutor-demo" data-tutor-demo="\w+">\n(<style>.*?</style>)', re.S)
KIT = re.compile(r'from "(data:text/javascript[^"]*)"')


def share(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leave the first copy of the colours, and write the kit into an import map before it."""
    body = context.get("body", "")
    first, kit = STYLE.search(body), KIT.search(body)
    if not first or not kit:
        return
    style, url = first[1], kit[1]
    known = json.dumps({"imports": {NAME: url}})
    before, *demos = body.replace(f'"{url}"', f'"{NAME}"').split(style)
    context["body"] = f'<script type="importmap">{known}</script>{before}{style}{"".join(demos)}'


def setup(app: Sphinx) -> None:
    """Rewrite each page when its HTML is there."""
    app.connect("html-page-context", share)
