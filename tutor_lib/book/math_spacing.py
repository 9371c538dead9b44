"""Spaces that TeX sets by the neighbours of a sign, where MathML Core looks at the sign alone."""

from xml.etree import ElementTree as ET

APPLY = "\u2061"  # the invisible sign between a function's name and its argument
SCRIPTS = {"msub", "msup", "msubsup", "munder", "mover", "munderover"}
THIN = {"width": "0.1667em"}
BARS = {"∥": "‖", "∣": "|"}  # the signs for "parallel" and "divides", where brackets are meant


def respace(math: ET.Element) -> None:
    """Mend the spaces in a formula, row by row."""
    for sign in math.iterfind(".//mo[@fence='true']"):
        fence(sign)
    for parent in list(math.iter()):
        if parent.tag in SCRIPTS:
            tighten(parent)
            give_row(parent)
        elif parent.tag != "mtable":
            sign_of_number(parent)
            function_names(parent)


def tighten(parent: ET.Element) -> None:
    """In `x_{i<t}`, signs stand close, as TeX sets them in small type."""
    for script in parent[1:]:
        for sign in script.iter("mo"):
            sign.attrib.setdefault("lspace", "0.08em")
            sign.attrib.setdefault("rspace", "0.08em")


def give_row(parent: ET.Element) -> None:
    """A big bracket with an exponent needs a row of its own, or Chromium leaves it small."""
    if parent[0].get("minsize"):
        row = ET.Element("mrow")
        row.append(parent[0])
        parent[0] = row


def fence(sign: ET.Element) -> None:
    """A bracket sits close to what it holds, also one that Unicode lists as a relation."""
    sign.text = BARS.get(sign.text or "", sign.text)
    sign.attrib.setdefault("lspace", "0")
    sign.attrib.setdefault("rspace", "0")


def sign_of_number(parent: ET.Element) -> None:
    """In `= -x`, the minus belongs to x: it has no space behind it."""
    before: ET.Element | None = None
    for child in parent:
        if child.tag == "mo" and child.text in ("−", "+", "±") and opens(before):
            child.set("form", "prefix")
        if child.tag != "mspace":
            before = child


def opens(before: ET.Element | None) -> bool:
    """Whether what follows begins something: after a relation, a comma or an open bracket."""
    closing = (")", "]", "}", "!", "|", "‖", APPLY)
    return before is not None and before.tag == "mo" and before.text not in closing


def function_names(parent: ET.Element) -> None:
    """`2 log p` has a thin space on either side of the name, `log(p)` none behind it."""
    for index in reversed(range(len(parent))):
        if is_function(parent, index):
            if index + 1 < len(parent) and not bracket(parent[index + 1]):
                parent.insert(index + 1, ET.Element("mspace", THIN))
            start = index - 1 if parent[index].tag == "mo" else index
            if start > 0 and parent[start - 1].tag not in ("mo", "mspace"):
                parent.insert(start, ET.Element("mspace", THIN))


def is_function(parent: ET.Element, index: int) -> bool:
    """Whether a function's name ends here: `log` with its sign, or `max` with a subscript."""
    child = parent[index]
    if child.tag in SCRIPTS:
        return len(child[0]) > 0 and child[0][-1].text == APPLY
    return child.tag == "mo" and child.text == APPLY


def bracket(element: ET.Element) -> bool:
    """Whether an argument opens with a bracket."""
    first = element[0] if element.tag == "mrow" and len(element) else element
    return first.tag == "mspace" or (first.tag == "mo" and first.text in ("(", "[", "{", "|", "‖"))
