"""What can befall a submission: a code for the summary, and words for the student."""

from dataclasses import dataclass

CODES = {
    # Before it runs: how it was handed in.
    "unreadable": "the notebook is no notebook: broken JSON, not UTF-8, an unknown format",
    "too-large": "the notebook or a file beside it is larger than is read",
    "no-notebook": "the folder holds no notebook of the lab's name",
    "renamed": "the notebook had another name, and was the only one",
    "several": "the folder holds further notebooks, which were passed over",
    "refused-file": "a link, a device or another special file was passed over",
    "cells-restored": "locked cells had been edited, deleted, duplicated, moved or retyped",
    "metadata-restored": "the cells' tags, points or flags had been changed",
    "timestamp": "the time stamp cannot be read, or cannot be right",
    # While it runs: what stopped it.
    "cell-time": "a cell ran longer than it may",
    "notebook-time": "the notebook ran longer than it may",
    "cpu": "more processor time was used than allowed",
    "memory": "more memory was used than allowed",
    "processes": "more processes were started than allowed",
    "disk": "more was written to disk than allowed",
    "output": "more was printed than is kept",
    "died": "the process ended by itself: an exit, a crash",
    "protocol": "what came back from the student's code could not be read",
    "score": "a test cell gave a score that is no number from 0 to its points",
    "grader": "grading itself failed; nothing was recorded against the student",
}


@dataclass(frozen=True)
class Note:
    """One thing that befell a submission: `told` is for the student, `cell` is a grade_id.

    Raises ValueError for an unknown code.
    """

    code: str
    told: str
    cell: str | None = None

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"no code {self.code!r}; there are {', '.join(CODES)}")
