"""The font of formulas: STIX Two Math, cut to the characters that the book uses.

It travels inside the stylesheet, because Firefox loads no font file for a page opened from disk.
"""

import base64
import hashlib
import html
import re
import string
from io import BytesIO
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from tutor_lib.book.core_mathml import letter
from tutor_lib.book.katex import package_folder

FAMILY = "Tutor Math"
ROOT_WIDTH = 880  # of 1000 to the em; STIX has 794 to 1212
# With these a small edit of a formula rarely changes the font.
BASE = string.digits + string.ascii_letters + "()[]{}|+-=<>,.:;!/*%'" + "−×·∑∏√∞∈≤≥≠≈→∥‖⟨⟩ˆ¯⏞⏟′…⋯"
FORMULA = re.compile(r"<math\b.*?</math>", re.DOTALL)
TAG = re.compile(r"<[^>]*>")


def characters(pages: list[str]) -> str:
    """The characters of all formulas on the pages, sorted, with the base set."""
    formulas = (math for page in pages for math in FORMULA.findall(page))
    used = {c for math in formulas for c in html.unescape(TAG.sub("", math)) if c.isprintable()}
    # The browser sets a letter that stands alone in italics, which are characters of their own.
    italic = {letter(c, "ITALIC") for c in used if c.isalpha()}
    return "".join(sorted(used | italic | set(BASE)))


def cut(characters: str) -> bytes:
    """STIX Two Math with these characters only, their tall and wide variants, as WOFF2."""
    from fontTools import subset
    from fontTools.ttLib import TTFont

    folder = package_folder("ziamath")
    if folder is None:
        raise RuntimeError("the font of formulas is in the package ziamath: pip install ziamath")
    font = TTFont(folder / "fonts" / "STIXTwoMath-Regular.ttf")
    narrow_radicals(font)
    options = subset.Options(flavor="woff2", layout_features=["ssty", "dtls", "ccmp"])
    options.hinting = False
    subsetter = subset.Subsetter(options)
    subsetter.populate(text=characters)
    subsetter.subset(font)
    buffer = BytesIO()
    subset.save_font(font, buffer, options)
    return buffer.getvalue()


def narrow_radicals(font: Any) -> None:
    """Give the root signs of all heights one width.

    Chromium makes room for the widest of them, whichever it draws: a gap behind each small root.
    """
    variants = font["MATH"].table.MathVariants
    root = font.getBestCmap()[ord("√")]
    shapes = variants.VertGlyphConstruction[variants.VertGlyphCoverage.glyphs.index(root)]
    names = [record.VariantGlyph for record in shapes.MathGlyphVariantRecord]
    for name in {*names, *(part.glyph for part in shapes.GlyphAssembly.PartRecords)}:
        stretch(font, name, ROOT_WIDTH)


def stretch(font: Any, name: str, width: int) -> None:
    """Scale one glyph to a width, in font units."""
    from fontTools.pens.transformPen import TransformPen
    from fontTools.pens.ttGlyphPen import TTGlyphPen

    factor = width / font["hmtx"][name][0]
    glyphs = font.getGlyphSet()
    pen = TTGlyphPen(glyphs)
    glyphs[name].draw(TransformPen(pen, (factor, 0, 0, 1, 0, 0)))
    glyph = font["glyf"][name] = pen.glyph()
    font["hmtx"][name] = (width, getattr(glyph, "xMin", 0))


def face(woff2: bytes) -> str:
    """The font as CSS."""
    data = base64.b64encode(woff2).decode()
    source = f"url(data:font/woff2;base64,{data}) format('woff2')"
    return f"@font-face {{ font-family: '{FAMILY}'; src: {source}; }}\n"


def write_font(app: Sphinx, error: Exception | None) -> None:
    """Cut the font for the pages as they are now, unless that was done before."""
    if error or app.builder.format != "html":
        return
    out = Path(app.outdir)
    used = characters([page.read_text(encoding="utf-8") for page in sorted(out.rglob("*.html"))])
    mark = f"/* {ROOT_WIDTH} {hashlib.sha256(used.encode()).hexdigest()} */\n"
    target = out / "_static" / "math-font.css"
    if not target.exists() or not target.read_text(encoding="utf-8").startswith(mark):
        target.write_text(mark + face(cut(used)), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Cut the font when the pages are written."""
    app.connect("build-finished", write_font)
