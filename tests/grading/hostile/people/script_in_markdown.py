"""Writes scripts into its answer, its code and a cell's attachment."""

from nbformat.v4 import new_markdown_cell

from tests.grading.probe import POINTS, RIGHT

EVIL = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> [a](javascript:alert(1)) "
    "<style>body{display:none}</style><iframe src='http://192.0.2.1/'></iframe> "
    "![b](attachment:c.svg) $\\href{javascript:alert(1)}{x}$"
)
ANSWERS = RIGHT | {
    "double": f"# {EVIL}\n{RIGHT['double']}",
    "why": EVIL,
}
SCORES = POINTS
UNSEEN = ("<script>alert", "<img", "<iframe", "<style>body", 'href="javascript')


def edit(notebook):
    picture = {"c.svg": {"image/svg+xml": "PHN2Zz48c2NyaXB0PmFsZXJ0KDEpPC9zY3JpcHQ+PC9zdmc+"}}
    cell = new_markdown_cell(EVIL)
    cell["attachments"] = picture
    notebook.cells.append(cell)
