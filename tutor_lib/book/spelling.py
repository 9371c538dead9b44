"""Terms are spelled as the glossary spells them: the build warns of every other spelling.

"KV-cache", "kv cache" and "KVCache" are "KV cache"; a first letter may be a capital, and a term may
have a plural. Code, formulas and the titles of other people's works are left alone.
"""

import re
from collections.abc import Iterator, Mapping

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

WORD = re.compile(r"\w+(?:-\w+)*")
LONGEST = 4  # words of a term
LEFT_ALONE = (nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw,
              nodes.citation)  # fmt: skip

logger = logging.getLogger(__name__)


def bare(phrase: str) -> str:
    """A phrase without what its spellings differ in."""
    return re.sub(r"[\s-]", "", phrase).casefold()


def misspelled(text: str, terms: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Each phrase that is a term in another spelling, with the term. `terms` go by `bare`."""
    words, first = list(WORD.finditer(text)), 0
    while first < len(words):
        for last in reversed(range(first, min(first + LONGEST, len(words)))):
            phrase = " ".join(text[words[first].start() : words[last].end()].split())
            if term := _term(phrase, terms):
                if phrase.removesuffix("s") not in _spellings(term):
                    yield phrase, term
                first = last
                break
        first += 1


def _term(phrase: str, terms: Mapping[str, str]) -> str | None:
    if not re.fullmatch(r"[\w\s-]+", phrase):
        return None  # words of two sentences, or of two clauses
    key = bare(phrase)
    return terms.get(key) or terms.get(key.removesuffix("s"))


def _spellings(term: str) -> set[str]:
    """Right ones, without a plural's s; the term may end in one itself."""
    return {form.removesuffix("s") for form in (term, term[0].upper() + term[1:])}


def check(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Warn of each misspelled term of a page."""
    objects = app.env.get_domain("std").get_objects()
    terms = {bare(name): name for name, _, kind, *_ in objects if kind == "term"}
    for text in doctree.findall(nodes.Text):
        if not _is_within(text, LEFT_ALONE):
            for phrase, term in misspelled(text.astext(), terms):
                told = "%r is spelled %r in the glossary"
                logger.warning(told, phrase, term, location=text.parent, type="tutor")


def _is_within(node: nodes.Node, kinds: tuple[type, ...]) -> bool:
    while node := node.parent:
        if isinstance(node, kinds):
            return True
    return False


def setup(app: Sphinx) -> None:
    """Check every page that is written."""
    app.connect("doctree-resolved", check)
