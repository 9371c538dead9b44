"""Text that students and graders wrote, as HTML that cannot do anything.

Formulas stay as they were typed, in LaTeX: nothing is fetched to draw them. Pictures are named,
not shown.
"""

import functools
import re

import bleach
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from tutor_lib.grading.gradebook.outputs import clean, cut

# Beyond these, the parsers can take minutes for what somebody built to that end.
LONGEST = 10_000  # characters
RULES = 12  # lines like |---|---|
RULE = re.compile(r"^[ \t]*[|:-][-|: \t]*$", re.MULTILINE)

TAGS = frozenset(
    "a blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr kbd li ol p pre s span "
    "strong sub summary sup table tbody td th thead tr ul b i u".split()
)
PROTOCOLS = frozenset({"http", "https", "mailto"})
# Pygments' classes, which are short, so that nobody can dress up text as part of the page.
HIGHLIGHTED = re.compile(r"highlight|[a-z]{1,2}\d?")


@functools.lru_cache(maxsize=512)  # most cells of a class's notebooks are the lab's own
def markdown(source: str) -> Markup:
    """Markdown and harmless HTML as harmless HTML.

    Never raises: what is too long, or too much for the parser, stands as it was typed.
    """
    if len(source) <= LONGEST and len(RULE.findall(source)) <= RULES:
        try:
            return _safe(MarkdownWithMath(renderer=_Renderer()).render(clean(source)))
        except Exception:  # a parser may fail in any way on what strangers write
            pass
    return Markup("<pre>{}</pre>").format(clean(cut(source, LONGEST)))


class _Renderer(IPythonRenderer):
    """Markdown without pictures and without links on headings."""

    def __init__(self) -> None:
        super().__init__(escape=False, exclude_anchor_links=True)

    def image(self, text: str, url: str, title: str | None = None) -> str:
        return f"[picture: {text}]"


def _safe(page: str) -> Markup:
    cleaned = bleach.clean(page, tags=TAGS, attributes=_allowed, protocols=PROTOCOLS)
    return Markup(cleaned)


def _allowed(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return tag in ("div", "span") and HIGHLIGHTED.fullmatch(value) is not None
    return tag == "a" and name in ("href", "title")
