"""The grades as a table: nbgrader's columns, the notes' codes, and quoting that holds.

In nbgrader_config.py:

    c.ExportApp.plugin_class = "tutor_lib.grading.gradebook.export.SafeCsv"
"""

import csv
from collections.abc import Collection, Iterator
from typing import Any

from nbgrader.api import (
    Assignment,
    Grade,
    Gradebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.plugins import ExportPlugin
from sqlalchemy import Subquery, func, select
from sqlalchemy.orm import Session

from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.notebook import notes_of, told_in

COLUMNS = (
    "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email",
    "raw_score", "late_submission_penalty", "score", "max_score", "notes",
)  # fmt: skip
# A cell that begins like this is a formula to a spreadsheet, which may run programs.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class SafeCsv(ExportPlugin):
    """Comma-separated values in which every name and every comma is what it was."""

    def export(self, gradebook: Gradebook) -> None:
        """Write `to`, or grades.csv: a line for each student and lab."""
        course = Course(self.parent.config, self.parent.coursedir)
        target = self.to or "grades.csv"
        self.log.info("Exporting grades to %s", target)
        names, students = [str(n) for n in self.assignment], [str(s) for s in self.student]
        with open(target, "w", newline="", encoding="utf-8") as file:
            table = csv.writer(file)
            table.writerow(COLUMNS)
            for row in rows(gradebook.db, course, names, students):
                table.writerow([harmless(value) for value in row])


def harmless(value: Any) -> Any:
    """The value, or text that no spreadsheet takes for a formula. Numbers are left alone."""
    if isinstance(value, str) and value.startswith(FORMULA):
        return f"'{value}"
    return value


def rows(
    session: Session, course: Course, names: Collection[str], students: Collection[str]
) -> Iterator[tuple[Any, ...]]:
    """The table's lines, of these labs and students, or of all where none are named."""
    labs = select(Assignment.id, Assignment.name, Assignment.duedate, Assignment.max_score)
    for lab in session.execute(labs.order_by(Assignment.duedate, Assignment.name)).all():
        if not names or lab.name in names:
            yield from _of_lab(session, course, lab, students)


def _of_lab(
    session: Session, course: Course, lab: Any, students: Collection[str]
) -> Iterator[tuple[Any, ...]]:
    Row, book, graded = SubmittedAssignment, _penalties(), _scores()
    handed_in = (Row.student_id == Student.id) & (Row.assignment_id == lab.id)
    wanted = (
        select(Student.id, Student.last_name, Student.first_name, Student.email, Row.timestamp,
               Row.id, func.coalesce(graded.c.score, 0.0), func.coalesce(book.c.penalty, 0.0))
        .outerjoin(Row, handed_in)
        .outerjoin(graded, graded.c.id == Row.id)
        .outerjoin(book, book.c.id == Row.id)
        .order_by(Student.last_name, Student.first_name, Student.id)
    )  # fmt: skip
    for student, last, first, email, stamp, there, score, penalty in session.execute(wanted):
        if students and student not in students:
            continue
        notes = _codes(course, student, lab.name) if there else ""
        yield (lab.name, lab.duedate, stamp, student, last, first, email, score, penalty,
               max(0.0, score - penalty), lab.max_score, notes)  # fmt: skip


def _scores() -> Subquery:
    """Points by submission: nbgrader's own property looks through all grades for each."""
    Book = SubmittedNotebook
    wanted = select(Book.assignment_id.label("id"), func.sum(Grade.score).label("score"))
    return wanted.join(Grade, Grade.notebook_id == Book.id).group_by(Book.assignment_id).subquery()


def _penalties() -> Subquery:
    Book = SubmittedNotebook
    total = func.sum(Book.late_submission_penalty).label("penalty")
    return select(Book.assignment_id.label("id"), total).group_by(Book.assignment_id).subquery()


def _codes(course: Course, student: str, lab: str) -> str:
    told = told_in(course.autograded(student, lab) / f"{lab}.ipynb")
    return " ".join(sorted({note.code for note in notes_of(told)}))
