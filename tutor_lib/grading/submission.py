"""A submission on its way through grading, and what came of running it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nbformat import NotebookNode

from tutor_lib.grading.notes import Note


@dataclass(frozen=True)
class Submission:
    """What a student handed in, as it will be run.

    `notebook` has the lab's own test cells, hidden tests and all, and no outputs; `files` lie
    beside it, by their relative names. `timestamp` is when it was handed in (UTC, without a
    zone, as nbgrader has it), or None.
    """

    lab: str
    student: str
    notebook: NotebookNode
    files: Mapping[str, bytes] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    timestamp: datetime | None = None


@dataclass(frozen=True)
class Result:
    """What came of running it.

    `outputs` holds nbformat's outputs for each cell of the notebook, in order. `finished` names
    the test cells (grade_id) that the judge ran to their end without an error: only these can
    score. `seconds` are for reading, not for comparing.
    """

    outputs: tuple[tuple[Mapping[str, Any], ...], ...]
    finished: frozenset[str]
    notes: tuple[Note, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
