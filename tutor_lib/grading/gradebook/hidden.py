"""What a student may see of a test cell: its visible lines, and no value from a hidden one."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import is_locked
from traitlets.config import Config

from tutor_lib.grading.gradebook.outputs import plain

FAILED = "A hidden test did not pass."
# How IPython's entry for a frame in a notebook's cell begins: the cell's number, and the line.
FRAME = re.compile(r"\s*Cell In\[(\d+)\], line (\d+)")


@dataclass(frozen=True)
class HiddenTests:
    """The lines between which tests are hidden, as nbgrader is configured."""

    begin: str
    end: str

    @classmethod
    def configured(cls, config: Config) -> "HiddenTests":
        """nbgrader's own settings."""
        nbgrader = ClearHiddenTests(config=config)
        return cls(nbgrader.begin_test_delimeter, nbgrader.end_test_delimeter)

    def numbers(self, source: str) -> set[int]:
        """The numbers of hidden lines, from 1. What is begun and not ended is all hidden."""
        hidden, inside = set(), False
        for number, line in enumerate(source.split("\n"), start=1):
            inside = inside or self.begin in line
            if inside:
                hidden.add(number)
            inside = inside and self.end not in line
        return hidden

    def shown(self, cell: NotebookNode) -> NotebookNode:
        """The cell as a student may see it. Only locked cells hold the lab's own tests."""
        if cell.cell_type != "code" or not is_locked(cell):
            return cell
        hidden = self.numbers(cell.source)
        lines = cell.source.split("\n")
        kept = [line for number, line in enumerate(lines, start=1) if number not in hidden]
        secret = {lines[number - 1].strip() for number in hidden}
        outputs = [_output(output, lines, hidden, secret) for output in cell.outputs]
        return NotebookNode(cell, source="\n".join(kept).strip("\n"), outputs=outputs)


def _output(
    output: Mapping[str, Any], lines: list[str], hidden: set[int], secret: set[str]
) -> NotebookNode:
    if output["output_type"] == "error":
        told = _told(output, lines, hidden)
        return NotebookNode(output, ename="", evalue=told, traceback=told.split("\n"))
    node = NotebookNode(output)
    if "text" in node:
        node.text = _without(node.text, secret)
    if "text/plain" in node.get("data", {}):
        node.data = NotebookNode(node.data)
        node.data["text/plain"] = _without(node.data["text/plain"], secret)
    return node


def _told(error: Mapping[str, Any], lines: list[str], hidden: set[int]) -> str:
    """What an error says: all, where a check speaks to students; else where it came from.

    A check's own exception (NotYet) is shown by Jupyter as its message alone, without the lines
    of code that led to it. All other errors show code, and it may be that of hidden tests.
    """
    message, entries = plain(error["evalue"]).strip(), [plain(e) for e in error["traceback"]]
    if "\n".join(entries).strip() == message:
        return message
    frames = [frame.groups() for entry in entries if (frame := FRAME.match(entry))]
    own = [int(line) for cell, line in frames if cell == frames[0][0]]
    if hidden and (not own or hidden.intersection(own)):
        return FAILED
    where = lines[own[0] - 1].strip() if own and own[0] <= len(lines) else ""
    return f"{where}\n{error['ename']}: {message}".strip()


def _without(text: str, secret: Iterable[str]) -> str:
    """Text without lines of hidden tests, such as a warning shows."""
    return "\n".join(
        line for line in text.split("\n") if not line.strip() or line.strip() not in secret
    )
