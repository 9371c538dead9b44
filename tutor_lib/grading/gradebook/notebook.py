"""The graded notebook: what the student handed in, what it printed, and what befell it."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nbformat import NotebookNode

from tutor_lib.grading.gradebook.marks import Marks
from tutor_lib.grading.gradebook.outputs import cut, reduced
from tutor_lib.grading.notes import CODES, Note
from tutor_lib.grading.submission import Result, Submission

KEPT = ("kernelspec", "language_info")
SOURCE = 200_000  # characters of a cell: more than anybody writes, or reads


def graded(submission: Submission, result: Result, marks: Marks) -> bytes:
    """The graded notebook as a file, with the marks in its metadata.

    Nothing in it runs when it is shown. Formgrader and the feedback read it.
    """
    of_cells = result.outputs or ((),) * len(submission.notebook.cells)
    about = submission.notebook.metadata
    metadata = {key: about[key] for key in KEPT if key in about}
    notebook = {
        "cells": [_cell(c, o) for c, o in zip(submission.notebook.cells, of_cells, strict=True)],
        "metadata": metadata | {"tutor": _told(submission, marks)},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(notebook, sort_keys=True, ensure_ascii=False).encode("utf-8", "replace")


def _told(submission: Submission, marks: Marks) -> dict[str, Any]:
    when = submission.timestamp
    return {
        "notes": [{"code": n.code, "told": n.told, "cell": n.cell} for n in marks.notes],
        "scores": dict(marks.scores),
        "comments": dict(marks.comments),
        "timestamp": when and when.isoformat(),
    }


def _cell(cell: NotebookNode, outputs: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    kept = {key: cell[key] for key in ("id", "cell_type", "attachments") if key in cell}
    kept["source"] = cut(cell.source, SOURCE)
    marks = cell.metadata.get("nbgrader")
    kept["metadata"] = {} if marks is None else {"nbgrader": marks}
    if cell.cell_type == "code":
        kept |= {"execution_count": None, "outputs": reduced(outputs)}
    return kept


def place(folder: Path, name: str, content: bytes, mode: int) -> None:
    """Write folder/name at once: others see the old file or the new one, never a half.

    It is written beside the students' folders first. What lies in a student's folder, nbgrader
    copies to the feedback, and a graded notebook holds the hidden tests.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor, made = tempfile.mkstemp(dir=_aside(folder))
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
        os.chmod(made, mode)
        os.replace(made, folder / name)
    except BaseException:
        os.unlink(made)
        raise
    if mode & 0o020:
        _share(folder)


def _aside(folder: Path) -> Path:
    aside = folder.parent.parent / ".writing"
    aside.mkdir(exist_ok=True)
    return aside


def _share(folder: Path) -> None:
    """Let the instructors' group write in these folders, as nbgrader's groupshared asks."""
    for shared in (folder, folder.parent, folder.parent.parent, _aside(folder)):
        mode = shared.stat().st_mode
        if mode & 0o2770 != 0o2770:
            with contextlib.suppress(PermissionError):  # another instructor's: theirs to share
                os.chmod(shared, (mode | 0o2770) & 0o2777)


def told_in(path: Path) -> dict[str, Any]:
    """What `graded` put into a notebook's metadata; empty if it is missing, or was not ours."""
    try:
        told = json.loads(path.read_bytes())["metadata"]["tutor"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return told if isinstance(told, dict) else {}


def notes_of(told: Mapping[str, Any]) -> list[Note]:
    """The notes in what `told_in` found."""
    try:
        notes = [n for n in told["notes"] if n["code"] in CODES]
        return [Note(n["code"], str(n["told"]), n["cell"]) for n in notes]
    except (KeyError, TypeError):
        return []
