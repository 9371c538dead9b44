"""What a submission's cells get: points, comments, and notes on both."""

from collections.abc import Mapping
from dataclasses import dataclass

from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_solution, is_task

from tutor_lib.grading.gradebook.scores import comment, score
from tutor_lib.grading.notes import Note
from tutor_lib.grading.submission import Result, Submission

# Nothing was handed in that could be read: no part of it waits for a person either.
ABSENT = {"no-notebook", "unreadable"}


@dataclass(frozen=True)
class Marks:
    """The points of graded cells and the comments on answers, by grade_id, and all notes.

    Points are None where a person decides.
    """

    scores: Mapping[str, float | None]
    comments: Mapping[str, str | None]
    notes: tuple[Note, ...]

    @property
    def failed(self) -> bool:
        """Whether grading itself failed: then nothing may be recorded."""
        return any(note.code == "grader" for note in self.notes)


def marks_of(submission: Submission, result: Result) -> Marks:
    """The marks of a submission by what came of running it."""
    scores: dict[str, float | None] = {}
    comments: dict[str, str | None] = {}
    notes = [*submission.notes, *result.notes]
    absent = any(note.code in ABSENT for note in notes)
    of_cells = result.outputs or ((),) * len(submission.notebook.cells)
    for cell, outputs in zip(submission.notebook.cells, of_cells, strict=True):
        if is_grade(cell):
            name = cell.metadata.nbgrader["grade_id"]
            points, note = score(_with(cell, outputs), name in result.finished)
            scores[name] = 0.0 if absent else points
            notes += [note] if note else []
        elif is_task(cell):
            scores[cell.metadata.nbgrader["grade_id"]] = 0.0 if absent else None
        if is_solution(cell) or is_task(cell):
            comments[cell.metadata.nbgrader["grade_id"]] = comment(cell)
    return Marks(scores, comments, tuple(notes))


def _with(cell: NotebookNode, outputs: object) -> NotebookNode:
    return cell if cell.cell_type != "code" else NotebookNode(cell, outputs=outputs)
