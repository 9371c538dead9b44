"""Record results in nbgrader's gradebook, many at once, and write the graded notebooks.

A batch is one transaction. Its files are put in place before it ends, so that others see both
or, if the program is killed just then, files that say something else than the gradebook:
`settled` finds these (in the module of that name), and recording again mends them.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from nbgrader.api import SubmittedAssignment
from sqlalchemy import Connection, select

from tutor_lib.grading.gradebook import rows
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.database import write
from tutor_lib.grading.gradebook.marks import Marks, marks_of
from tutor_lib.grading.gradebook.notebook import graded, place
from tutor_lib.grading.notes import Note
from tutor_lib.grading.submission import Result, Submission

BATCH = 25  # submissions in one transaction: short enough that another grader need not wait
Graded = tuple[Submission, Result]


@dataclass(frozen=True)
class Recorded:
    """What the gradebook now says: the score with all that a person gave, less any penalty.

    The score is 0 where grading failed and nothing was entered.
    """

    student: str
    score: float
    maximum: float
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class _Entry:
    """A submission, ready to be entered."""

    submission: Submission
    marks: Marks
    content: bytes


def record(course: Course, lab: str, results: Iterable[Graded]) -> list[Recorded]:
    """Enter results in the gradebook, and write autograded/<student>/<lab>/<lab>.ipynb.

    As nbgrader does: students and submissions are made where they are missing, the points of an
    earlier grading are replaced, and what a person gave stays. Where grading itself failed (the
    note `grader`) nothing is entered. Recording the same twice is recording it once.

    Raises ValueError if the lab is not in the gradebook, or its cells are not those of the
    notebook, and RuntimeError if the gradebook stays busy.
    """
    recorded: list[Recorded] = []
    for batch in batches(results):
        entries = {s.student: _entry(s, r) for s, r in batch}

        def work(connection: Connection, entries: Mapping[str, _Entry] = entries) -> list[Recorded]:
            return _enter(connection, course, lab, entries)

        told = {one.student: one for one in write(course.db_url, work)}
        recorded += [told[submission.student] for submission, _ in batch]
    return recorded


def batches(results: Iterable[Graded]) -> Iterator[list[Graded]]:
    """As many at a time as are recorded in one transaction."""
    iterator = iter(results)
    while batch := list(itertools.islice(iterator, BATCH)):
        yield batch


def _entry(submission: Submission, result: Result) -> _Entry:
    marks = marks_of(submission, result)
    content = b"" if marks.failed else graded(submission, result, marks)
    return _Entry(submission, marks, content)


def _enter(
    connection: Connection, course: Course, name: str, entries: Mapping[str, _Entry]
) -> list[Recorded]:
    rows.hold(connection, name)
    lab = rows.lab_of(connection, name)
    good = {student: e for student, e in sorted(entries.items()) if not e.marks.failed}
    _check_cells(lab, name, good.values())
    marks = {student: entry.marks for student, entry in good.items()}
    stamps = {student: entry.submission.timestamp for student, entry in good.items()}
    books = rows.submissions(connection, lab, stamps)
    rows.write_grades(connection, lab, books, marks)
    rows.write_comments(connection, lab, books, marks)
    scores = rows.totals(connection, lab, books)
    penalties = _penalties(connection, course, lab, scores)
    rows.write_penalties(connection, {book: penalties.get(s) for s, book in books.items()})
    for entry in good.values():
        _place(course, name, entry)
    return [
        Recorded(
            student,
            max(0.0, scores.get(student, 0.0) - (penalties.get(student) or 0.0)),
            lab.maximum,
            entry.marks.notes,
        )
        for student, entry in entries.items()
    ]


def _check_cells(lab: rows.Lab, name: str, entries: Iterable[_Entry]) -> None:
    known = {cell.name for cell in lab.cells}
    for entry in entries:
        if unknown := {*entry.marks.scores, *entry.marks.comments} - known:
            raise ValueError(
                f"the gradebook does not know {', '.join(sorted(unknown))} of {name}; "
                "`make labs` enters what is new in a lab"
            )


def _penalties(
    connection: Connection, course: Course, lab: rows.Lab, scores: Mapping[str, float]
) -> dict[str, float]:
    """What being late costs, as nbgrader has it: never less than 0 or more than the score."""
    Row = SubmittedAssignment
    wanted = select(Row.student_id, Row.timestamp, Row.extension).where(
        Row.assignment_id == lab.id, Row.student_id.in_(scores)
    )
    penalties = {}
    for student, stamp, extension in connection.execute(wanted):
        if course.penalty is None or stamp is None or lab.duedate is None:
            continue
        due = lab.duedate + extension if extension else lab.duedate
        if (late := (stamp - due).total_seconds()) > 0:
            penalty = course.penalty(student, scores[student], late)
            if penalty is not None:
                penalties[student] = 0 if penalty < 0 else min(penalty, scores[student])
    return penalties


def _place(course: Course, lab: str, entry: _Entry) -> None:
    folder = course.autograded(entry.submission.student, lab)
    place(folder, f"{lab}.ipynb", entry.content, course.permissions)
    # By this file nbgrader knows whether the feedback is older than the grades.
    if (when := entry.submission.timestamp) is not None:
        place(folder, "timestamp.txt", f"{when} UTC\n".encode(), course.permissions)
