"""Colours, figures, stylesheets: the parts of the book's look that can be computed."""

import re
from itertools import combinations

import numpy as np
import pytest

from tutor_lib.book import fresh, inline_svg, purge
from tutor_lib.book.figures import COLOURS, STYLESHEET, heat, use_style

THEMES = [
    dict(re.findall(r"--tutor-([\w-]+): (#\w{6})", block))
    for block in re.findall(r"\{([^{}]*)\}", STYLESHEET.read_text())
]
TEXT = ("ink", "muted", "accent", "q", "k", "v", "token", "heat-high")
# Machado, Oliveira and Fernandes 2009, table 1: severity 1.0, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                   [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                     [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602],
                   [0.004733, 0.691367, 0.303900]],
}  # fmt: skip


def linear(colour: str) -> np.ndarray:
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(first: str, second: str) -> float:
    """WCAG 2.2's contrast ratio."""
    weights = (0.2126, 0.7152, 0.0722)
    low, high = sorted(float(linear(colour) @ weights) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """Björn Ottosson's perceptual space, 2020: distance is difference as seen."""
    to_lms = [[0.4122214708, 0.5363325363, 0.0514459929],
              [0.2119034982, 0.6806995451, 0.1073969566],
              [0.0883024619, 0.2817188376, 0.6299787005]]  # fmt: skip
    to_lab = [[0.2104542553, 0.7936177850, -0.0040720468],
              [1.9779984951, -2.4285922050, 0.4505937099],
              [0.0259040371, 0.7827717662, -0.8086757660]]  # fmt: skip
    return np.array(to_lab) @ np.cbrt(np.array(to_lms) @ np.clip(rgb, 0, 1))


def test_both_themes_name_the_same_colours():
    light, dark = THEMES
    assert set(light) == set(dark)
    assert light == COLOURS


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
def test_text_in_each_colour_reads_on_each_ground(theme):
    for name in TEXT:
        for ground in ("paper", "surface"):
            assert contrast(theme[name], theme[ground]) >= 4.5, (name, ground)
    assert contrast(theme["edge"], theme["surface"]) >= 3  # WCAG 1.4.11: the edge of a control


@pytest.mark.parametrize("theme", THEMES, ids=["light", "dark"])
@pytest.mark.parametrize("vision", VISION)
def test_the_roles_differ_for_colour_blind_readers(theme, vision):
    seen = {r: oklab(np.array(VISION[vision]) @ linear(theme[r])) for r in ("q", "k", "v", "token")}
    for a, b in combinations(seen, 2):
        assert np.linalg.norm(seen[a] - seen[b]) > 0.05, (a, b)


def draw() -> str:
    import io

    import matplotlib as mpl
    import matplotlib.pyplot as plt

    with mpl.rc_context():
        mpl.use("agg")
        use_style()
        figure, axes = plt.subplots()
        axes.plot([1, 2, 3])
        axes.pcolormesh([[0.0, 1.0]], cmap=heat())
        axes.set_title("Weights & values")
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
        plt.close(figure)
    return text.getvalue()


def test_a_figure_takes_its_colours_from_the_page():
    svg = inline_svg.inline(draw(), "Two cells.")
    assert 'role="img" aria-label="Two cells."' in svg
    assert "var(--tutor-q)" in svg
    assert "var(--tutor-ink)" in svg
    assert "var(--tutor-heat-high)" in svg
    assert not set(COLOURS.values()) & set(re.findall(r"#[0-9a-f]{6}", svg))
    assert "<style" not in svg
    assert "<metadata" not in svg
    assert ">Weights &amp; values</text>" in svg
    assert svg.count("<svg") == 1


def test_the_same_figure_is_the_same_file():
    assert draw() == draw()


CSS = """@charset "utf-8"; /* a { */
.used, .unused:hover { color: red }
.unused { color: blue }
a.used:not(.unused) { background: url("x}{;y") }
@media (min-width: 1px) { .unused { top: 0 } .used::after { content: "}" } }
@media print { .unused { top: 0 } }
.fa-bars:before { content: "\\f0c9" }
.used .fa-bars { left: 0 }
@font-face { font-family: Font Awesome\\ 6 Free; src: url(x.woff2) }
@keyframes turn { from { top: 0 } to { top: 1px } }
:is(.used, .unused) b { top: 0 }
"""


def test_purging_keeps_what_can_match_and_nothing_else():
    kept = re.sub(r"\s+", " ", purge.purge(CSS, {"used", "fa-bars"}))
    assert '@charset "utf-8";' in kept
    assert ".used{ color: red }" in kept
    assert 'a.used:not(.unused){ background: url("x}{;y") }' in kept
    assert '.used::after{ content: "}" }' in kept
    assert ".used .fa-bars{ left: 0 }" in kept
    assert "@keyframes turn{ from { top: 0 } to { top: 1px } }" in kept
    assert ":is(.used, .unused) b{ top: 0 }" in kept
    for gone in ("blue", "print", "f0c9", "Font Awesome", ":hover"):
        assert gone not in kept


def test_purging_twice_changes_nothing():
    once = purge.purge(CSS, {"used"})
    assert purge.purge(once, {"used"}) == once


def test_the_browser_keeps_every_rule_that_matches(browser, book):
    """An oracle for the purge: the browser's own CSS parser, on the theme's real stylesheet."""
    import sphinx_book_theme

    folder = sphinx_book_theme.get_html_theme_path() / "static" / "styles"
    original = (folder / "sphinx-book-theme.css").read_text()
    purged = (book / "_static" / "styles" / "sphinx-book-theme.css").read_text()
    page = browser.new_page()
    matching = """(css) => {
      const sheet = new CSSStyleSheet(); sheet.replaceSync(css);
      const flat = (rules) => [...rules].flatMap((r) =>
        r instanceof CSSStyleRule ? r.selectorText.split(', ').map((s) => [s, r.style.cssText])
          : r instanceof CSSMediaRule ? flat(r.cssRules) : []);
      return flat(sheet.cssRules).filter(([s]) => {
        const plain = s.replace(/::?(before|after|hover|focus|active)/g, '');
        try { return document.querySelector(plain) } catch { return false }
      }).map(([s, css]) => s + ' ' + css);
    }"""
    icons = re.compile(r"^\.fa[\w-]*")
    for path in (book / "chapters/intro.html", *(book / "labs").rglob("*.html")):
        page.goto(path.as_uri())
        needed, have = page.evaluate(matching, original), page.evaluate(matching, purged)
        assert len(needed) > 50
        assert [rule for rule in needed if rule not in have and not icons.match(rule)] == []
    page.close()


def test_the_library_is_told_apart_by_content_and_name(tmp_path):
    def digest() -> str:
        return fresh.digest(tmp_path, fresh.imported(tmp_path))

    (tmp_path / "model").mkdir()
    (tmp_path / "grading").mkdir()
    (tmp_path / "model" / "a.py").write_text("x = 1")
    first = digest()
    (tmp_path / "grading" / "b.py").write_text("graders change no page")
    assert digest() == first
    (tmp_path / "model" / "a.py").write_text("x = 2")
    second = digest()
    (tmp_path / "model" / "a.py").rename(tmp_path / "model" / "b.py")
    assert len({first, second, digest()}) == 3


def test_a_changed_library_empties_the_execution_cache(tmp_path, monkeypatch):
    from types import SimpleNamespace

    def read_again(warnings: int = 0) -> list[str]:
        docs = fresh.forget_old_runs(app, env, set(), set(), set())
        app._warncount = warnings
        fresh.remember(app, None)
        return docs

    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "a.py").write_text("x = 1")
    monkeypatch.setattr(fresh, "LIBRARY", tmp_path / "lib")
    app = SimpleNamespace(doctreedir=tmp_path / "doctrees", _warncount=0)
    env = SimpleNamespace(found_docs={"intro"})
    cache = tmp_path / ".jupyter_cache"
    assert read_again() == ["intro"]
    cache.mkdir()
    assert read_again(warnings=1) == []
    assert read_again() == ["intro"]  # the build before had warnings
    assert cache.exists()
    assert read_again() == []
    (tmp_path / "lib" / "a.py").write_text("x = 2")
    assert fresh.forget_old_runs(app, env, set(), set(), set()) == ["intro"]
    assert not cache.exists()
    assert read_again() == ["intro"]  # the build before did not come to its end
    assert read_again() == []


def test_a_changed_style_reaches_the_pages(tmp_path, monkeypatch):
    """A new book.css once stayed out of the built book until some page changed."""
    from types import SimpleNamespace

    monkeypatch.setattr(fresh, "HERE", tmp_path / "book")
    for name in ("static/book.css", "templates/layout.html", "katex.js", "__pycache__/a.pyc"):
        (tmp_path / "book" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "book" / name).write_text("before")
    app = SimpleNamespace(doctreedir=tmp_path / "doctrees", _warncount=0)
    env = SimpleNamespace(found_docs={"intro"})

    def read_again() -> list[str]:
        docs = fresh.forget_old_runs(app, env, set(), set(), set())
        fresh.remember(app, None)
        return docs

    assert read_again() == ["intro"]
    assert read_again() == []
    for name in ("static/book.css", "templates/layout.html", "katex.js"):
        (tmp_path / "book" / name).write_text("after")
        assert read_again() == ["intro"], name
    (tmp_path / "book" / "__pycache__" / "a.pyc").write_text("after")
    assert read_again() == []
