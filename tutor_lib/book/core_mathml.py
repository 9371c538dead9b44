"""KaTeX writes MathML 3; browsers show MathML Core. This turns the one into the other.

MathML Core knows no `mathvariant` (but for `normal`), no `columnalign`, no column or row
spacing, no `menclose`, and no element inside a token: letters become the code points of their
alphabet, alignment and spacing become CSS, tokens around elements become rows.
"""

import re
import unicodedata
from collections.abc import Iterator
from itertools import chain, repeat
from xml.etree import ElementTree as ET

from tutor_lib.book.katex import ROLES, TexError
from tutor_lib.book.math_spacing import respace

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
TOKENS = {"mi", "mn", "mo", "mtext"}

# KaTeX's alphabets, as Unicode names the letters of its mathematical block.
ALPHABETS = {
    "bold": "BOLD",
    "italic": "ITALIC",
    "bold-italic": "BOLD ITALIC",
    "double-struck": "DOUBLE-STRUCK",
    "script": "SCRIPT",
    "bold-script": "BOLD SCRIPT",
    "fraktur": "FRAKTUR",
    "bold-fraktur": "BOLD FRAKTUR",
    "sans-serif": "SANS-SERIF",
    "bold-sans-serif": "SANS-SERIF BOLD",
    "sans-serif-italic": "SANS-SERIF ITALIC",
    "sans-serif-bold-italic": "SANS-SERIF BOLD ITALIC",
    "monospace": "MONOSPACE",
}
# Letters that were in Unicode before the mathematical block came, under older names.
PLANCK = {("h", "ITALIC"): "\u210e"}
OLDER = {"SCRIPT": "SCRIPT", "FRAKTUR": "BLACK-LETTER", "DOUBLE-STRUCK": "DOUBLE-STRUCK"}

# KaTeX writes its spaces as characters, whose width differs from font to font.
THIN, MEDIUM, HAIR, MINUS = "\u2009", "\u2005", "\u200a", "\u2063"
SPACES = {
    HAIR: 1 / 18,
    THIN: 3 / 18,
    MEDIUM: 4 / 18,
    MEDIUM + HAIR: 5 / 18,
    HAIR + MINUS: -1 / 18,
    THIN + MINUS: -3 / 18,
    "\u205f" + MINUS: -4 / 18,
    MEDIUM + MINUS: -5 / 18,
}


def to_core(katex: str, tex: str) -> str:
    """MathML Core for KaTeX's output; `tex` becomes its text for programs without MathML."""
    span = ET.fromstring(katex.replace("class =", "class="))
    math = span[0]
    for element in math.iter():
        element.tag = element.tag.removeprefix(f"{{{NAMESPACE}}}")
    math[:] = [math[0][0]]  # <semantics> holds the formula first, then its LaTeX
    for element in list(math.iter()):
        rewrite(element)
    respace(math)
    math.set("alttext", " ".join(re.sub(rf"\\({'|'.join(ROLES)})\b", "", tex).split()))
    return ET.tostring(math, encoding="unicode", short_empty_elements=False)


def rewrite(element: ET.Element) -> None:
    """Replace in one element what browsers ignore."""
    space(element)
    role(element)
    accent(element)
    if element.tag == "mtable":
        table(element)
    if element.tag == "menclose":
        enclose(element)
    if element.tag in TOKENS and len(element):
        element.tag = "mrow"
    alphabet(element)


def space(element: ET.Element) -> None:
    """A space character becomes a space of that width."""
    if element.tag == "mtext" and element.text in SPACES:
        width = SPACES[element.text]
        element.tag, element.text = "mspace", None
        element.set("width", f"{width:.4f}em")


def role(element: ET.Element) -> None:
    """`\\query{Q}` takes the colour of queries from the page."""
    if (colour := element.get("mathcolor")) in ROLES:
        del element.attrib["mathcolor"]
        element.set("class", f"tutor-{colour}")


def accent(element: ET.Element) -> None:
    """A hat keeps its width; only `\\widehat` grows with the letter below it."""
    if element.get("accent") == "true" and element[-1].tag == "mo":
        element[-1].attrib.setdefault("stretchy", "false")


def enclose(element: ET.Element) -> None:
    """`\\boxed` is drawn by CSS; strokes through a formula are not shown at all."""
    if element.attrib.pop("notation") != "box":
        raise TexError("browsers cannot strike a formula through")
    element.tag = "mrow"
    element.set("class", "tutor-box")


def alphabet(element: ET.Element) -> None:
    """`<mi mathvariant="script">L</mi>` becomes `<mi>ℒ</mi>`."""
    variant = element.get("mathvariant")
    if variant is None or (variant == "normal" and element.tag == "mi"):
        return
    del element.attrib["mathvariant"]
    if variant != "normal" and element.text:
        element.text = "".join(letter(c, ALPHABETS[variant]) for c in element.text)


def letter(character: str, style: str) -> str:
    """The code point of a character in an alphabet, or the character if it has none."""
    name = unicodedata.name(character, "")
    if match := re.fullmatch(r"(?:LATIN|GREEK) (CAPITAL|SMALL) LETTER (\w+)", name):
        ending = f"{match[1]} {match[2]}"
        older = f"{OLDER.get(style, style)} {ending}"
        names = [f"MATHEMATICAL {style} {ending}", older, older.replace("BLACK-LETTER", "SCRIPT")]
    elif match := re.fullmatch(r"GREEK (?:LUNATE )?(\w+) SYMBOL", name):
        names = [f"MATHEMATICAL {style} {match[1]} SYMBOL"]
    elif re.fullmatch(r"DIGIT \w+", name):
        names = [f"MATHEMATICAL {style} {name}"]
    else:
        return character
    return next(filter(None, map(lookup, names)), PLANCK.get((character, style), character))


def lookup(name: str) -> str | None:
    """The character of that name, or None."""
    try:
        return unicodedata.lookup(name)
    except KeyError:
        return None


def table(element: ET.Element) -> None:
    """Alignment, spacing and lines of a table become CSS of its cells."""
    if element.attrib.pop("width", None):
        raise TexError("number an equation with :label:, not with \\tag")
    aligns = element.attrib.pop("columnalign", "center")
    gaps = element.attrib.pop("columnspacing", "1em")
    column_lines = element.attrib.pop("columnlines", "none")
    # KaTeX's rows are 1.2 em high before it adds a gap; a browser's are as high as their letters.
    row_gap = length(element.attrib.pop("rowspacing", "0.5em")) + 0.3
    row_lines = endless(element.attrib.pop("rowlines", "none"))
    for row in element:
        # KaTeX's `align` adds empty cells for the equation number that it draws by CSS.
        row[:] = [cell for cell in row if cell.get("class") not in ("mtr-glue", "mml-eqn-num")]
        styles = cell_styles(aligns, gaps, column_lines, len(row))
        line = "border-bottom:1px solid;" if next(row_lines) != "none" else ""
        padding = f"padding-top:{row_gap / 2:g}em;padding-bottom:{row_gap / 2:g}em;"
        for cell, style in zip(row, styles, strict=True):
            cell.set("style", style + padding + line)


def cell_styles(aligns: str, gaps: str, lines: str, columns: int) -> Iterator[str]:
    """The CSS of each cell of a row: half of each gap goes to either side of it."""
    align, gap, line = endless(aligns), endless(gaps), endless(lines)
    left = 0.0
    for column in range(columns):
        last = column == columns - 1
        right = 0.0 if last else length(next(gap)) / 2
        border = "border-right:1px solid;" if not last and next(line) != "none" else ""
        # What a cell holds is a block to Chromium; only the prefixed values move blocks.
        side = next(align)
        padding = f"padding-left:{left:g}em;padding-right:{right:g}em;"
        yield f"text-align:{side};text-align:-webkit-{side};{padding}{border}"
        left = right


def length(text: str) -> float:
    """`0.25em` as a number."""
    return float(text.split()[0].removesuffix("em"))


def endless(words: str) -> Iterator[str]:
    """The words, the last one again and again: MathML's rule for lists in tables."""
    listed = words.split()
    return chain(listed, repeat(listed[-1]))
