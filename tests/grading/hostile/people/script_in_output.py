"""Shows scripts: as HTML, JavaScript, SVG, Markdown, and in what it prints and raises."""

from tests.grading.probe import POINTS, RIGHT

FIRST = """
from IPython.display import HTML, SVG, Javascript, Latex, Markdown, display

evil = "<script>alert(1)</script><img src=x onerror=alert(1)>"
for kind in (HTML, Javascript, Markdown, Latex):
    display(kind(evil))
display(SVG("<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"))
display({"text/html": evil, "image/png": evil, "text/plain": evil, "application/x+json": {"a": 1}},
        raw=True)
print(evil, "\\033]8;;javascript:alert(1)\\007click\\033]8;;\\007")
raise ValueError(evil)
"""
ANSWERS, SCORES = RIGHT, POINTS
UNSEEN = ("<script>alert", "<img", 'href="javascript', "\x1b")
