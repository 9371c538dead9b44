"""What is kept of a cell's outputs: text and pictures, and nothing that a browser would run."""

import base64
import binascii
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from nbformat import NotebookNode

TEXT = 50_000  # characters that a cell keeps, of each kind of output
PICTURES = 1 << 20  # characters of base64 that a cell keeps
PIXELS = 32_000_000  # of one picture: a small file may unpack to a huge one
OUTPUTS = 200  # that a cell keeps
PNG = b"\x89PNG\r\n\x1a\n"

# Colours stay (group 1). Other escapes move the cursor, set titles or make links.
ESCAPES = re.compile(
    r"(\x1b\[[0-9;]*m)|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b\[[0-?]*[ -/]*[@-~]?|\x1b"
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")


def reduced(outputs: Iterable[Mapping[str, Any]]) -> list[NotebookNode]:
    """A cell's outputs with text and PNG pictures alone, both of bounded size.

    Never raises, whatever is in them. Reducing twice gives the same as once.
    """
    budget, kept = _Budget(), []
    for output in _merged(outputs):
        node = KINDS[output["output_type"]](output, budget)
        if node is not None:
            kept.append(NotebookNode(node))
    return kept


def clean(text: str) -> str:
    """Text without control characters, and with no escapes but colours."""
    lines = ESCAPES.sub(r"\1", text.replace("\r\n", "\n")).split("\n")
    # A progress bar returns to the start of its line: what is seen is what came last.
    seen = (line.rstrip("\r").rpartition("\r")[2] for line in lines)
    text = CONTROLS.sub("", "\n".join(seen))
    return text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be stored


def plain(text: str) -> str:
    """Text without colours either."""
    return ESCAPES.sub("", clean(text))


def cut(text: str, most: int) -> str:
    """The beginning and the end of a text that is too long."""
    if len(text) <= most:
        return text
    told = f"\n… {len(text) - most:,} characters and more are left out …\n"
    side = (most - len(told)) // 2
    return text[:side] + told + text[-side:] if side > 0 else ""


def picture(data: object, most: int = PICTURES) -> str | None:
    """A PNG picture's base64, if it is one and no larger than can be shown."""
    text = "".join(_text(data).split())
    try:
        png = base64.b64decode(text, validate=True) if len(text) <= most else b""
        width, height = struct.unpack(">II", png[16:24])
    except (ValueError, binascii.Error, struct.error):
        return None
    fits = png.startswith(PNG) and 0 < width * height <= PIXELS
    return base64.b64encode(png).decode() if fits else None


class _Budget:
    """How much a cell may still keep."""

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()

    def text(self, kind: str, text: str) -> str:
        text = cut(clean(text), TEXT - self.used[kind])
        self.used[kind] += len(text)
        return text

    def traceback(self, entries: object) -> list[str]:
        """A traceback's entries, one for each frame; if they are too long, its lines."""
        entries = entries if isinstance(entries, list | tuple) else []
        whole = [clean(_text(entry)) for entry in entries]
        text = self.text("error", "\n".join(whole))
        return whole if text == "\n".join(whole) else text.split("\n")

    def picture(self, data: object) -> str | None:
        found = picture(data, PICTURES - self.used["image/png"])
        self.used["image/png"] += len(found or "")
        return found

    def one_more(self) -> bool:
        self.used["outputs"] += 1
        return self.used["outputs"] <= OUTPUTS


def _merged(outputs: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The outputs of known types; neighbouring pieces of one stream are one output."""
    pieces: list[str] = []
    name = None
    for output in outputs:
        kind = output.get("output_type")
        if pieces and (kind != "stream" or _stream(output) != name):
            yield {"output_type": "stream", "name": name, "text": "".join(pieces)}
            pieces = []
        if kind == "stream":
            name = _stream(output)
            pieces.append(_text(output.get("text")))
        elif kind in KINDS:
            yield output
    if pieces:
        yield {"output_type": "stream", "name": name, "text": "".join(pieces)}


def _stream(output: Mapping[str, Any]) -> str:
    return "stderr" if output.get("name") == "stderr" else "stdout"


def _text(value: object) -> str:
    """nbformat's text: a string, or the list of its lines."""
    if isinstance(value, list | tuple):
        return "".join(piece for piece in value if isinstance(piece, str))
    return value if isinstance(value, str) else ""


def _shown_stream(output: Mapping[str, Any], budget: _Budget) -> dict[str, Any] | None:
    text = budget.text("stream", output["text"])
    keep = text and budget.one_more()
    return {"output_type": "stream", "name": output["name"], "text": text} if keep else None


def _shown_error(output: Mapping[str, Any], budget: _Budget) -> dict[str, Any]:
    """An error is kept in any case, shortened if need be: it tells why there are no points."""
    return {
        "output_type": "error",
        "ename": cut(clean(_text(output.get("ename"))), 200),
        "evalue": cut(clean(_text(output.get("evalue"))), TEXT // 10),
        "traceback": budget.traceback(output.get("traceback")),
    }


def _shown_data(output: Mapping[str, Any], budget: _Budget) -> dict[str, Any] | None:
    found = output.get("data")
    found = found if isinstance(found, Mapping) else {}
    text = budget.text("data", _text(found.get("text/plain")))
    data = {"text/plain": text, "image/png": budget.picture(found.get("image/png"))}
    data = {kind: value for kind, value in data.items() if value}
    if not data or not budget.one_more():
        return None
    node = {"output_type": output["output_type"], "data": data, "metadata": {}}
    if output["output_type"] == "execute_result":
        node["execution_count"] = None
    return node


KINDS = {
    "stream": _shown_stream,
    "error": _shown_error,
    "display_data": _shown_data,
    "execute_result": _shown_data,
}
