"""What the demos of a page share stands in it once: their kit, and the colours.

Each demo is whole by itself, as JupyterLab needs it. Compression does not find the copies: they
lie further apart than it looks back. An import map gives the kit a name, also in a page from disk.
"""

import json
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

NAME = "tutor-kit"


def share(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Leave the first copy of the colours, and write the kit into an import map before it."""
    body = context.get("body", "")
    if "data-tutor-demo=" not in body:
        return
    # Here, because it brings torch, for which a build with nothing to do should not wait.
    from tutor_lib.demos.bundle import kit_url
    from tutor_lib.demos.demo import FOLDER, Demo

    url, style = kit_url(FOLDER / "kit.js"), f"<style>{Demo._css}</style>"
    known = json.dumps({"imports": {NAME: url}})
    before, *demos = body.replace(f'"{url}"', f'"{NAME}"').split(style)
    context["body"] = f'<script type="importmap">{known}</script>{before}{style}{"".join(demos)}'


def setup(app: Sphinx) -> None:
    """Rewrite each page when its HTML is there."""
    app.connect("html-page-context", share)
