"""nbgrader's tables, a batch of submissions at a time: a few statements, not dozens a cell."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from nbgrader.api import (
    Assignment,
    BaseCell,
    Comment,
    Grade,
    GradeCell,
    Notebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
    TaskCell,
    new_uuid,
)
from sqlalchemy import Connection, and_, false, func, insert, select, true, update

from tutor_lib.grading.gradebook.marks import Marks

GRADED, ANSWERED, TASK = "GradeCell", "SolutionCell", "TaskCell"  # nbgrader's kinds of cells


class Cell(NamedTuple):
    """A cell of a lab, as the gradebook knows it."""

    id: str
    name: str
    type: str
    maximum: float


class Lab(NamedTuple):
    """A lab, as the gradebook knows it; `notebook` is the one that is graded."""

    id: str
    duedate: datetime | None
    notebook: str
    cells: list[Cell]

    @property
    def maximum(self) -> float:
        """The points of the whole."""
        return sum(cell.maximum for cell in self.cells)


def hold(connection: Connection, lab: str) -> None:
    """Keep other graders of the lab waiting until the transaction ends.

    SQLite has one writer in any case, and leaves FOR UPDATE out.
    """
    connection.execute(select(Assignment.id).where(Assignment.name == lab).with_for_update())


def lab_of(connection: Connection, name: str) -> Lab:
    """Look a lab up.

    Raises ValueError if it is not in the gradebook.
    """
    wanted = select(Assignment.id, Assignment.duedate).where(Assignment.name == name)
    found = connection.execute(wanted).first()
    notebook = found and connection.scalar(
        select(Notebook.id).where(Notebook.assignment_id == found.id, Notebook.name == name)
    )
    if not found or not notebook:
        raise ValueError(f"the gradebook has no lab {name!r}; `make labs` enters it")
    base, of_test, of_task = BaseCell.__table__, GradeCell.__table__, TaskCell.__table__
    maximum = func.coalesce(of_test.c.max_score, of_task.c.max_score, 0.0)
    rows = connection.execute(
        select(base.c.id, base.c.name, base.c.type, maximum)
        .select_from(base.outerjoin(of_test).outerjoin(of_task))
        .where(base.c.notebook_id == notebook)
    )
    return Lab(found.id, found.duedate, notebook, [Cell(*row) for row in rows])


def submissions(
    connection: Connection, lab: Lab, stamps: Mapping[str, datetime | None]
) -> dict[str, str]:
    """The rows of these students' notebooks, made where they are missing: student to id.

    `stamps` are the times of handing in. As in nbgrader, None keeps what is there.
    """
    there = _column(connection, select(Student.id).where(Student.id.in_(stamps)))
    _insert(connection, Student, ({"id": student} for student in stamps if student not in there))
    handed_in = _submitted(connection, lab, stamps)
    wanted = select(SubmittedNotebook.assignment_id, SubmittedNotebook.id).where(
        SubmittedNotebook.notebook_id == lab.notebook,
        SubmittedNotebook.assignment_id.in_(handed_in.values()),
    )
    books = {assignment: book for assignment, book in connection.execute(wanted)}
    missing = {a: new_uuid() for a in handed_in.values() if a not in books}
    _insert(
        connection,
        SubmittedNotebook,
        (
            {"id": book, "assignment_id": a, "notebook_id": lab.notebook}
            for a, book in missing.items()
        ),
    )
    return {student: (books | missing)[a] for student, a in handed_in.items()}


def _submitted(
    connection: Connection, lab: Lab, stamps: Mapping[str, datetime | None]
) -> dict[str, str]:
    Row = SubmittedAssignment
    wanted = select(Row.student_id, Row.id, Row.timestamp).where(
        Row.assignment_id == lab.id, Row.student_id.in_(stamps)
    )
    rows = {student: (id, stamp) for student, id, stamp in connection.execute(wanted)}
    for student, (id, stamp) in rows.items():
        if stamps[student] is not None and stamps[student] != stamp:
            connection.execute(update(Row).where(Row.id == id).values(timestamp=stamps[student]))
    made = {student: new_uuid() for student in stamps if student not in rows}
    about = {"assignment_id": lab.id}
    new = ({"id": i, "student_id": s, "timestamp": stamps[s], **about} for s, i in made.items())
    _insert(connection, Row, new)
    return {student: id for student, (id, _) in rows.items()} | made


def write_grades(
    connection: Connection, lab: Lab, books: Mapping[str, str], marks: Mapping[str, Marks]
) -> None:
    """Enter the points. Those that a person gave stay, and are to be looked at again."""
    wanted = select(
        Grade.id, Grade.notebook_id, Grade.cell_id, Grade.auto_score, Grade.needs_manual_grade,
        Grade.manual_score,
    ).where(_within(Grade, lab, books))  # fmt: skip
    there = {(row.notebook_id, row.cell_id): row for row in connection.execute(wanted)}
    new, changed = [], defaultdict(list)
    for student, book in books.items():
        for cell in _of_type(lab, GRADED, TASK):
            # A cell that is not there any more has earned nothing.
            points = marks[student].scores.get(cell.name, None if cell.type == TASK else 0.0)
            row = there.get((book, cell.id))
            if row is None:
                about = {"auto_score": points, "needs_manual_grade": points is None}
                new.append({"id": new_uuid(), "notebook_id": book, "cell_id": cell.id, **about})
            elif (row.auto_score, row.needs_manual_grade) != (points, _waits(cell, points, row)):
                changed[cell.type, points].append(row.id)
    _insert(connection, Grade, new)
    # A class has few different scores: a statement for each of them, and not for each row.
    for (kind, points), ids in changed.items():
        values = {"auto_score": points, "needs_manual_grade": _waiting(kind, points)}
        connection.execute(update(Grade).where(Grade.id.in_(ids)).values(values))


def _waits(cell: Cell, points: float | None, row: Any) -> bool:
    """What `_waiting` says of a row."""
    if cell.type == TASK:
        return points is None and row.manual_score is None
    return points is None or row.manual_score is not None


def _waiting(kind: str, points: float | None) -> Any:
    """Whether a person should look, by what the row holds when it is written.

    nbgrader leaves the tasks that a person has graded alone, and shows other cells again.
    """
    if kind == TASK:
        return Grade.manual_score.is_(None) if points is None else false()
    return true() if points is None else Grade.manual_score.is_not(None)


def write_comments(
    connection: Connection, lab: Lab, books: Mapping[str, str], marks: Mapping[str, Marks]
) -> None:
    """Enter what the gradebook says by itself. A person's comments stay."""
    wanted = select(Comment.id, Comment.notebook_id, Comment.cell_id, Comment.auto_comment)
    found = connection.execute(wanted.where(_within(Comment, lab, books)))
    there = {(row.notebook_id, row.cell_id): row for row in found}
    new, changed = [], defaultdict(list)
    for student, book in books.items():
        for cell in _of_type(lab, ANSWERED, TASK):
            text = marks[student].comments.get(cell.name)
            row = there.get((book, cell.id))
            if row is None:
                about = {"notebook_id": book, "cell_id": cell.id, "auto_comment": text}
                new.append({"id": new_uuid(), **about})
            elif row.auto_comment != text:
                changed[text].append(row.id)
    _insert(connection, Comment, new)
    for text, ids in changed.items():
        connection.execute(update(Comment).where(Comment.id.in_(ids)).values(auto_comment=text))


def totals(connection: Connection, lab: Lab, books: Mapping[str, str]) -> dict[str, float]:
    """The points of each student, by hand, by machine and extra, before any penalty."""
    wanted = select(Grade.notebook_id, func.sum(Grade.score)).group_by(Grade.notebook_id)
    found = {
        book: points
        for book, points in connection.execute(wanted.where(_within(Grade, lab, books)))
    }
    return {student: found.get(book, 0.0) for student, book in books.items()}


def write_penalties(connection: Connection, penalties: Mapping[str, float | None]) -> None:
    """Enter what being late costs, by notebook."""
    same = defaultdict(list)
    for book, penalty in penalties.items():
        same[penalty].append(book)
    Book = SubmittedNotebook
    for penalty, books in same.items():
        # None is no value to compare with, in SQL.
        other = Book.late_submission_penalty.is_distinct_from(penalty)
        changed = update(Book).where(Book.id.in_(books), other)
        connection.execute(changed.values(late_submission_penalty=penalty))


def _within(table: Any, lab: Lab, books: Mapping[str, str]) -> Any:
    """The rows of these notebooks. nbgrader's index is by cell first: without, all are read."""
    cells = [cell.id for cell in lab.cells]
    return and_(table.cell_id.in_(cells), table.notebook_id.in_(books.values()))


def _of_type(lab: Lab, *types: str) -> Iterable[Cell]:
    return (cell for cell in lab.cells if cell.type in types)


def _column(connection: Connection, wanted: Any) -> set[Any]:
    return set(connection.scalars(wanted))


def _insert(connection: Connection, table: Any, rows: Iterable[Mapping[str, Any]]) -> None:
    if values := list(rows):
        connection.execute(insert(table), values)
