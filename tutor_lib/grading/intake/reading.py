"""Read a notebook that may be anything: mend what can be mended, say what cannot be read."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CELLS = 5_000
BRACKETS = 1_000_000  # each may become an object of 80 bytes
KINDS = ("code", "markdown", "raw")
# No encoder takes lone surrogates; neither Python code nor PostgreSQL may hold a NUL.
UNWRITABLE = re.compile("[\x00\ud800-\udfff]")


class Unreadable(Exception):
    """The text is no notebook; the message tells the student why."""


@dataclass(frozen=True)
class Given:
    """A cell as it was handed in. `about` is what it has under `nbgrader` in its metadata; an `id`
    that it does not have is empty."""

    kind: str
    source: str
    id: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    tags: frozenset[str] = frozenset()

    @property
    def grade_id(self) -> str:
        """The name that nbgrader gave the cell, or nothing."""
        name = self.about.get("grade_id")
        return name if isinstance(name, str) else ""


def read_cells(data: bytes) -> list[Given]:
    """The cells of a notebook, format 3 or 4. Outputs and attachments are left out.

    Raises Unreadable if there are none to be had.
    """
    return cells_of(_parsed(data))


def cells_of(book: Any) -> list[Given]:
    """The cells of a notebook's JSON. What is no cell is passed over.

    Raises Unreadable if there is no list of cells.
    """
    if not isinstance(book, Mapping):
        raise Unreadable("it is JSON, but no notebook")
    cells = _worksheets(book) if _version(book) == 3 else book.get("cells")
    if not isinstance(cells, Sequence) or isinstance(cells, str):
        raise Unreadable("it has no list of cells")
    if len(cells) > CELLS:
        raise Unreadable(f"it has {len(cells):,} cells, and {CELLS:,} are read at most")
    return [_cell(cell) for cell in cells if isinstance(cell, Mapping)]


def _parsed(data: bytes) -> Any:
    if not data.strip():
        raise Unreadable("the file is empty")
    if data.count(b"[") + data.count(b"{") > BRACKETS:
        raise Unreadable("it holds too many lists")
    try:
        return json.loads(data.decode("utf-8-sig"), parse_int=_integer)
    except UnicodeDecodeError as error:
        raise Unreadable("it is not UTF-8 text") from error
    except RecursionError as error:
        raise Unreadable("its JSON is nested too deeply") from error
    except ValueError as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Unreadable(f"its JSON is broken{where}") from error


def _integer(digits: str) -> int:
    # Python refuses to convert thousands of digits. No number of a notebook that counts is long.
    return int(digits) if len(digits) < 20 else 0


def _version(book: Mapping[str, Any]) -> int:
    """The notebook format's number; 4 where it is not told but there are cells."""
    told = book.get("nbformat")
    if isinstance(told, bool) or not isinstance(told, int):
        return 3 if "worksheets" in book and "cells" not in book else 4
    if told not in (3, 4):
        raise Unreadable(f"its format is {told}, and 3 and 4 are read: save it with JupyterLab")
    return told


def _worksheets(book: Mapping[str, Any]) -> list[Any]:
    """Format 3: cells lie in worksheets, code is called input, and headings are cells."""
    sheets = book.get("worksheets")
    if not isinstance(sheets, list):
        raise Unreadable("it has no list of cells")
    lists = [sheet.get("cells") for sheet in sheets if isinstance(sheet, dict)]
    cells = [cell for cells in lists if isinstance(cells, list) for cell in cells]
    return [_upgraded(cell) for cell in cells if isinstance(cell, dict)]


def _upgraded(cell: dict[str, Any]) -> dict[str, Any]:
    kind, level = cell.get("cell_type"), cell.get("level", 1)
    if kind == "code":
        return cell | {"source": cell.get("input", "")}
    if kind != "heading":
        return cell
    marks = "#" * level if isinstance(level, int) and 1 <= level <= 6 else "#"
    heading = " ".join(_text(cell.get("source")).splitlines())
    return cell | {"cell_type": "markdown", "source": f"{marks} {heading}"}


def _cell(cell: Mapping[str, Any]) -> Given:
    kind, own_id = cell.get("cell_type"), cell.get("id")
    metadata = _mapping(cell.get("metadata"))
    tags = metadata.get("tags")
    tags = tags if isinstance(tags, list) else []
    return Given(
        # What is of no known kind is shown, but not run.
        kind=kind if kind in KINDS else "raw",
        source=_text(cell.get("source")),
        id=own_id if isinstance(own_id, str) else "",
        about=_mapping(metadata.get("nbgrader")),
        tags=frozenset(tag for tag in tags if isinstance(tag, str)),
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str:
    """A cell's text, which is one string or a list of lines."""
    lines = value if isinstance(value, list) else [value]
    return UNWRITABLE.sub("\ufffd", "".join(line for line in lines if isinstance(line, str)))
