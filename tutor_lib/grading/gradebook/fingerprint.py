"""All that counts in a gradebook, in an order of its own: to compare two of them."""

from collections import defaultdict
from typing import Any

from nbgrader.api import BaseCell, Comment, Grade, SubmittedAssignment, SubmittedNotebook
from sqlalchemy import Connection, select

from tutor_lib.grading.gradebook import rows
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.database import read
from tutor_lib.grading.gradebook.notebook import notes_of, told_in


def fingerprint(course: Course, lab: str) -> dict[str, dict[str, Any]]:
    """What the gradebook and the graded notebooks say of each student: equal, or not equal.

    That is points, comments, notes, times of handing in and penalties, and none of the ids that
    every gradebook makes for itself.

    Raises ValueError if the lab is not in the gradebook.
    """
    told = read(course.db_url, lambda connection: _rows(connection, lab))
    for student, about in told.items():
        notes = notes_of(told_in(course.autograded(student, lab) / f"{lab}.ipynb"))
        about["notes"] = sorted((note.code, note.cell or "") for note in notes)
    return told


def _rows(connection: Connection, name: str) -> dict[str, dict[str, Any]]:
    lab = rows.lab_of(connection, name)
    Row, Book = SubmittedAssignment, SubmittedNotebook
    base = select(Row.student_id).join(Book, Book.assignment_id == Row.id)
    base = base.where(Book.notebook_id == lab.notebook)
    wanted = base.add_columns(Row.timestamp, Row.extension, Book.late_submission_penalty)
    # Sorted here: databases have orders of their own.
    found = sorted(connection.execute(wanted), key=lambda row: row.student_id)
    told: dict[str, dict[str, Any]] = {student: {"handed in": rest} for student, *rest in found}
    for table, columns in TABLES.items():
        wanted = base.join(table, table.notebook_id == Book.id)
        wanted = wanted.join(BaseCell, BaseCell.id == table.cell_id)
        wanted = wanted.add_columns(BaseCell.name, *columns)
        entries = defaultdict(list)
        for student, *entry in connection.execute(wanted):
            entries[student].append(tuple(entry))
        for student, about in told.items():
            about[table.__tablename__] = sorted(entries[student], key=lambda entry: entry[0])
    return told


TABLES: dict[Any, tuple[Any, ...]] = {
    Grade: (Grade.auto_score, Grade.manual_score, Grade.extra_credit, Grade.needs_manual_grade),
    Comment: (Comment.auto_comment, Comment.manual_comment),
}
