"""Whose graded notebook and gradebook say the same. Whoever else is to be recorded (again)."""

from datetime import datetime
from typing import Any

from nbgrader.api import Comment, Grade, SubmittedAssignment, SubmittedNotebook
from sqlalchemy import Connection, select

from tutor_lib.grading.gradebook import rows
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.database import read
from tutor_lib.grading.gradebook.notebook import told_in


def settled(course: Course, lab: str) -> dict[str, datetime | None]:
    """Who is graded, wholly, and when that was handed in.

    Raises ValueError if the gradebook does not know the lab.
    """
    known = read(course.db_url, lambda connection: _told(connection, lab))
    return {
        student: told["timestamp"] and datetime.fromisoformat(told["timestamp"])
        for student, told in known.items()
        if _agrees(told, told_in(course.autograded(student, lab) / f"{lab}.ipynb"))
    }


def _agrees(told: dict[str, Any], written: dict[str, Any]) -> bool:
    same = all(written.get(key) == told[key] for key in ("scores", "comments"))
    # A submission without a time keeps the one that the gradebook has.
    return same and written.get("timestamp") in (None, told["timestamp"])


def _told(connection: Connection, lab: str) -> dict[str, dict[str, Any]]:
    """What the gradebook says, as `notebook.graded` writes it into the notebooks."""
    known = rows.lab_of(connection, lab)
    names = {cell.id: cell.name for cell in known.cells}
    told: dict[str, dict[str, Any]] = {}
    for student, stamp in connection.execute(_of(known, SubmittedAssignment.timestamp)):
        told[student] = {"timestamp": stamp and stamp.isoformat(), "scores": {}, "comments": {}}
    for key, table, column in TABLES:
        wanted = _of(known, table.cell_id, column)
        wanted = wanted.join(table, table.notebook_id == SubmittedNotebook.id)
        for student, cell, value in connection.execute(wanted):
            told[student][key][names[cell]] = value
    return told


TABLES = (("scores", Grade, Grade.auto_score), ("comments", Comment, Comment.auto_comment))


def _of(lab: rows.Lab, *columns: Any) -> Any:
    wanted = select(SubmittedAssignment.student_id, *columns).join(
        SubmittedNotebook, SubmittedNotebook.assignment_id == SubmittedAssignment.id
    )
    return wanted.where(SubmittedNotebook.notebook_id == lab.notebook)
