"""The points of a cell: only what the judge saw run to its end can earn any."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from nbformat import NotebookNode
from nbgrader.utils import compute_checksum, is_grade, is_solution, is_task

from tutor_lib.grading.notes import Note

NO_RESPONSE = "No response."  # nbgrader's words, which formgrader knows


class Score(NamedTuple):
    """The points of a cell, or None where a person decides; and what was wrong with them."""

    points: float | None
    note: Note | None = None


def score(cell: NotebookNode, finished: bool) -> Score:
    """What a graded cell earns: nbgrader's rules, where only positive evidence scores.

    A test cell earns its points if it `finished` without an error, or the one number from 0 to
    its points that it ends with. What is written to stderr is no error. An answer that a person
    grades is None, or 0 if it was left as it was handed out.

    Raises ValueError if the cell is not graded.
    """
    if not is_grade(cell):
        raise ValueError(f"not a graded cell: {cell.get('source', '')[:60]!r}")
    if is_solution(cell):
        return Score(0.0 if is_unchanged(cell) else None)
    if cell.cell_type != "code":
        return Score(None)
    if not finished or any(o.get("output_type") == "error" for o in cell.outputs):
        return Score(0.0)
    return _earned(cell)


def comment(cell: NotebookNode) -> str | None:
    """What the gradebook says by itself below an answer."""
    return NO_RESPONSE if not is_task(cell) and is_unchanged(cell) else None


def is_unchanged(cell: NotebookNode) -> bool:
    """Whether a cell has the checksum with which it was handed out."""
    return bool(cell.metadata.nbgrader.get("checksum") == compute_checksum(cell))


def _earned(cell: NotebookNode) -> Score:
    points = float(cell.metadata.nbgrader["points"])
    results = [o for o in cell.outputs if o.get("output_type") == "execute_result"]
    if not results:
        return Score(points)
    earned = _number(results)
    if earned is not None and 0 <= earned <= points:  # which nan and inf are not
        return Score(abs(earned))  # -0.0 is 0
    told = f"This test should end with one number from 0 to {points:g}, and did not: no points."
    return Score(0.0, Note("score", told, cell.metadata.nbgrader["grade_id"]))


def _number(results: Iterable[Mapping[str, Any]]) -> float | None:
    """The one number that the results show, as text."""
    texts = [result.get("data", {}).get("text/plain") for result in results]
    if len(texts) != 1 or not isinstance(texts[0], str):
        return None
    try:
        return float(texts[0])
    except ValueError:
        return None
