"""How Sphinx writes a formula: as MathML, at build time, without a script in the page."""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx.writers.html5 import HTML5Translator

from tutor_lib.book.core_mathml import to_core
from tutor_lib.book.katex import Katex, TexError

logger = logging.getLogger(__name__)
katex = Katex()


def formula(translator: HTML5Translator, node: nodes.Element, tex: str, display: bool) -> str:
    """The formula as MathML; a formula that cannot be read is a warning and shows as code."""
    try:
        return to_core(katex.mathml(tex, display), tex)
    except TexError as error:
        logger.warning("formula %r: %s", tex, error, location=node, type="tutor", subtype="math")
        return f'<code class="math-error">{translator.encode(tex)}</code>'


def visit_inline(translator: HTML5Translator, node: nodes.math) -> None:
    """Write `$x$`."""
    translator.body.append(formula(translator, node, node.astext(), display=False))
    raise nodes.SkipNode


def visit_block(translator: HTML5Translator, node: nodes.math_block) -> None:
    """Write a displayed formula in a box that scrolls, with its number and link beside it."""
    translator.body.append(translator.starttag(node, "div", CLASS="math notranslate nohighlight"))
    mathml = formula(translator, node, aligned(node), display=True)
    translator.body.append(f'<div class="math-scroll">{mathml}</div>')
    if node["number"]:
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append("</div>\n")
    raise nodes.SkipNode


def aligned(node: nodes.math_block) -> str:
    """The LaTeX of a block; as in Sphinx, `\\\\` breaks lines and an empty line parts formulas."""
    if node["nowrap"]:
        return node.astext()
    parts = [part for part in node.astext().split("\n\n") if part.strip()]
    split = [rf"\begin{{split}}{p}\end{{split}}" if breaks_lines(p) else p for p in parts]
    if len(split) == 1:
        return split[0]
    return r"\begin{aligned}" + r"\\".join(split) + r"\end{aligned}"


def breaks_lines(part: str) -> bool:
    """Whether a formula has a line break of its own, outside any environment."""
    return r"\\" in part and r"\begin" not in part


def stop_katex(app: Sphinx, error: Exception | None) -> None:
    """Let Node go once the pages are written."""
    katex.close()


def setup(app: Sphinx) -> None:
    """Register the renderer; Sphinx takes the one that is not MathJax."""
    app.add_html_math_renderer("tutor", (visit_inline, None), (visit_block, None))
    app.connect("build-finished", stop_katex)
