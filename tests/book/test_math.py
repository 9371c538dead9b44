"""Formulas: MathML that browsers show, in our font, with an error that names its place."""

import re

import pytest

from tutor_lib.book import font
from tutor_lib.book.core_mathml import letter, to_core
from tutor_lib.book.katex import Katex, TexError

SAMPLE = r"""# Sample

Inline $\mathbb{E}_{x\sim p}\,\sqrt{D}$, and numbered:

```{math}
:label: eq-one
y = \frac{\query{q} \cdot \key{k}}{\sqrt{D}}
```

By {eq}`eq-one`:

$$
\begin{aligned} a &= b + c + d \\ a + b + c &= d \end{aligned}
$$

$$
\left( \frac{\frac{a}{b}}{\frac{c}{d}} \right) + (x) + \begin{pmatrix} 1 & 0 \\ 0 & 1 \end{pmatrix}
$$

$$
a_{11} = a_{12} = a_{13} = a_{14} = a_{15} = a_{16} = a_{17} = a_{18} = a_{19} = a_{20} = a_{21}
$$
"""


@pytest.fixture(scope="module")
def katex():
    running = Katex()
    yield running
    running.close()


@pytest.fixture(scope="module")
def core(katex):
    return lambda tex: to_core(katex.mathml(tex, display=True), tex)


@pytest.fixture(scope="module")
def sample(build):
    return build(SAMPLE)


@pytest.mark.parametrize(
    ("tex", "expected"),
    [
        (r"\mathbb{R}", "<mi>ℝ</mi>"),
        (r"\mathbb{E}", "<mi>𝔼</mi>"),
        (r"\mathcal{L}", "<mi>ℒ</mi>"),
        (r"\mathcal{N}", "<mi>𝒩</mi>"),
        (r"\mathbf{W}", "<mi>𝐖</mi>"),
        (r"\boldsymbol{\theta}", "<mi>𝜽</mi>"),
        (r"\mathfrak{g}", "<mi>𝔤</mi>"),
        (r"\mathbf{1}", "<mn>𝟏</mn>"),
        (r"\mathrm{d}", '<mi mathvariant="normal">d</mi>'),
        (r"\query{Q}", '<mstyle class="tutor-query"><mi>Q</mi></mstyle>'),
        (r"\log p", '<mo>\u2061</mo><mspace width="0.1667em"></mspace><mi>p</mi>'),
        (r"= -x", '<mo form="prefix">−</mo>'),
        (r"a - x", "<mo>−</mo>"),
        (r"\bigr\rVert^2", "<msup><mrow><mo"),
        (r"x_{<t}", 'lspace="0.08em"'),
        (r"a\,b", '<mspace width="0.1667em">'),
        (r"\boxed{x}", '<mrow class="tutor-box">'),
        (r"\begin{aligned}a&=b\end{aligned}", "text-align:-webkit-right"),
        (r"\begin{array}{l|c}a&b\end{array}", "border-right:1px solid"),
    ],
)
def test_what_browsers_ignore_is_replaced(core, tex, expected):
    assert expected in core(tex)


@pytest.mark.parametrize(
    "tex", [r"\mathsf{T}\mathtt{a}", r"\begin{align}a&=b\\c&=d\end{align}", r"\overset{a}{=}"]
)
def test_nothing_is_left_that_mathml_core_does_not_know(core, tex):
    for word in ("mathvariant", "columnalign", "rowspacing", "menclose", "mtr-glue", "<mo><m"):
        assert word not in core(tex)


def test_letters_of_an_alphabet_are_those_of_unicodes_own_tables():
    """Compatibility decomposition (NFKC) is Unicode's way back from 𝔼 to E."""
    import string
    import unicodedata

    styles = ["BOLD", "ITALIC", "DOUBLE-STRUCK", "SCRIPT", "FRAKTUR", "SANS-SERIF", "MONOSPACE"]
    for style in styles:
        letters = [letter(c, style) for c in string.ascii_letters]
        assert len(set(letters)) == 52
        assert unicodedata.normalize("NFKC", "".join(letters)) == string.ascii_letters
        assert not set(letters) & set(string.ascii_letters)


@pytest.mark.parametrize(
    ("tex", "message"),
    [(r"\frac{a", "expected '}'"), (r"\cancel{x}", "strike"), (r"a \tag{3}", ":label:")],
)
def test_a_formula_that_cannot_be_shown_is_an_error(core, tex, message):
    with pytest.raises(TexError, match=message):
        core(tex)


def test_one_formula_does_not_change_the_next(core):
    core(r"\gdef\query#1{wrong}\query{Q}")
    assert "tutor-query" in core(r"\query{Q}")


def test_a_bad_formula_warns_with_page_line_and_text(build):
    """Sphinx keeps no warnings: the second build must warn again, or `-W` passes it."""
    first = build("# Bad\n\nA line.\n\n$\\frac{a$\n")
    again = build("# Bad\n\nA line.\n\n$\\frac{a$\n", first.folder)
    for built in (first, again):
        assert "index.md:5: WARNING: formula '\\\\frac{a'" in built.warnings
        assert '<code class="math-error">' in built.html


def test_good_formulas_do_not_warn_and_bring_no_script(sample):
    assert sample.warnings == ""
    assert "<math" in sample.html
    assert not re.search(r"<script[^>]*(mathjax|katex)", sample.html, re.IGNORECASE)
    assert 'class="eqno"' in sample.html
    assert 'href="#equation-eq-one"' in sample.html


def test_formulas_have_the_shape_of_formulas(visit, sample):
    home = (sample.folder / "html").as_uri() + "/"
    with visit(home, "index.html", width=360) as seen:
        box = seen.page.evaluate(
            """() => {
              const box = (e) => e.getBoundingClientRect().toJSON();
              const all = (s) => [...document.querySelectorAll(s)];
              const [first] = all('mfrac');
              return {
                fraction: box(first), top: box(first.children[0]), bottom: box(first.children[1]),
                root: box(all('msqrt')[0]), inRoot: box(all('msqrt')[0].firstElementChild),
                cells: all('mtable')[0] && [...all('mtable')[0].querySelectorAll('mtd')].map((c) =>
                  box(c.firstElementChild.lastElementChild || c.firstElementChild)),
                brackets: all('mo').filter((o) => o.textContent === '(').map((o) => box(o).height),
                scrolls: all('.math-scroll').map((s) =>
                  [s.scrollWidth > s.clientWidth, s.tabIndex]),
                colours: all('.tutor-query, .tutor-key').map((e) => getComputedStyle(e).color),
                font: document.fonts.check('16px "Tutor Math"', '∑'),
                loaded: [...document.fonts].map((f) => f.family + f.status),
                used: getComputedStyle(all('math')[0]).fontFamily,
              };
            }"""
        )
        assert seen.errors == []
        assert seen.outside == []
    assert box["top"]["bottom"] < box["bottom"]["top"]
    assert box["fraction"]["height"] > box["top"]["height"] + box["bottom"]["height"]
    assert box["root"]["height"] > box["inRoot"]["height"]
    # Chromium leaves room for the widest root sign: the gap behind a small one stays small.
    assert box["root"]["right"] - box["inRoot"]["right"] < 3
    right_aligned = [box["cells"][0], box["cells"][2]]
    assert abs(right_aligned[0]["right"] - right_aligned[1]["right"]) < 1
    assert max(box["brackets"]) > 1.8 * min(box["brackets"])
    assert [True, 0] in box["scrolls"]
    assert [False, 0] not in box["scrolls"]
    assert len(set(box["colours"])) == 2
    assert box["font"]
    assert "Tutor Mathloaded" in "".join(box["loaded"]).replace('"', "")
    assert box["used"].startswith('"Tutor Math"')


def test_the_font_is_really_drawn(visit, sample):
    """The same formula is wider or narrower in another font, so ours must be the one drawn."""
    home = (sample.folder / "html").as_uri() + "/"
    with visit(home, "index.html") as seen:
        width = "document.querySelector('math').getBoundingClientRect().width"
        ours = seen.page.evaluate(width)
        seen.page.add_style_tag(content="math { font-family: monospace !important }")
        assert abs(seen.page.evaluate(width) - ours) > 1


def test_the_font_holds_what_is_used_and_little_else():
    from io import BytesIO

    from fontTools.ttLib import TTFont

    used = font.characters(["<p>ж</p><math><mi>x</mi><mo>⊙</mo><mi>𝔼</mi></math>"])
    assert {"⊙", "𝔼", "𝑥", "∑"} <= set(used)
    assert "ж" not in used
    cut = font.cut(used)
    loaded = TTFont(BytesIO(cut))
    assert {ord(c) for c in "⊙𝔼𝑥∑√("} <= set(loaded.getBestCmap())
    assert "MATH" in loaded
    assert len(cut) < 60_000
