"""A lab's page is to read; at its top stands the notebook to work in."""

import base64
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

# The notebook is in the link itself. A browser that reads the book from disk does not keep a
# file named by a link: it opens it, as pages of JSON.
OFFER = """
<p class="lab-download">
  <a download="{name}" href="data:application/x-ipynb+json;base64,{data}">
    <i class="fas fa-download" aria-hidden="true"></i>Download {name}</a>
  <span>This page is to read. The notebook is to work in: open it in JupyterLab, where your code
  runs and is checked.</span>
</p>
"""


def offer_notebook(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Put the notebook under the title of a lab's page, in place of the button for a source."""
    if doctree is not None and page.startswith("labs/"):
        source = Path(app.env.doc2path(page))
        data = base64.b64encode(source.read_bytes()).decode()
        offer = OFFER.format(name=source.name, data=data)
        context["body"] = context["body"].replace("</h1>", f"</h1>{offer}", 1)
        context["offers_notebook"] = True


def setup(app: Sphinx) -> None:
    """Look at each page before it is written."""
    app.connect("html-page-context", offer_notebook)
