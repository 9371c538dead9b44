"""The table of grades: nbgrader's numbers, every name as it was, and no formulas."""

import csv
import io
from datetime import datetime

import pytest
from nbgrader.api import Gradebook, Student
from nbgrader.apps import ExportApp
from nbgrader.plugins import CsvExportPlugin

from tests.grading.gradebook.classroom import LAB, counted, ended_with
from tests.grading.gradebook.test_record import by_hand, set_due
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.export import COLUMNS, SafeCsv, harmless
from tutor_lib.grading.gradebook.record import record
from tutor_lib.grading.notes import Note


def export(room, plugin, **options):
    """What `nbgrader export` writes with a plugin."""
    app = ExportApp(config=room.course.config)
    app.coursedir = room.course.directory
    target = room.folder / f"{plugin.__name__}.csv"
    with Gradebook(room.course.db_url, "tiny") as book:
        plugin(parent=app, to=str(target), **options).export(book)
    return target.read_bytes().decode()


def table(text):
    return list(csv.DictReader(io.StringIO(text, newline="")))


@pytest.fixture
def graded(classroom):
    """Three students, of whom one is late and one has handed in nothing."""
    with (classroom.folder / "nbgrader_config.py").open("a") as config:
        config.write("c.LateSubmissionPlugin.penalty_method = 'zero'\n")
    classroom.course = Course.open(classroom.folder)
    set_due(classroom)
    outputs = {"partial_check": [ended_with("0.1")]}
    notes = [Note("renamed", "x"), Note("memory", "y"), Note("memory", "z")]
    record(classroom.course, LAB, [
        classroom.graded("ada", outputs=outputs, notes=notes, timestamp=datetime(2026, 1, 2, 3, 4)),
        classroom.graded("bob", outputs=outputs, timestamp=datetime(2026, 3, 2)),
    ])  # fmt: skip
    by_hand(classroom, "ada", 1.5, extra=0.25)
    with Gradebook(classroom.course.db_url, "tiny") as book:
        book.add_student("cat", first_name="Cat", last_name="Z", email="cat@example.org")
    return classroom


def test_the_numbers_are_nbgraders(graded):
    """On names without commas, where nbgrader's own table can be read."""
    theirs = table(export(graded, CsvExportPlugin))
    ours = table(export(graded, SafeCsv))
    key = "student_id"
    assert [row.pop("notes") for row in sorted(ours, key=lambda r: r[key])] == [
        "memory renamed",
        "",
        "",
    ]
    assert sorted(ours, key=lambda r: r[key]) == sorted(theirs, key=lambda r: r[key])
    assert {row[key]: row["score"] for row in ours} == {"ada": "4.85", "bob": "0.0", "cat": "0.0"}


@pytest.mark.parametrize(
    ("options", "students"),
    [({"student": ["ada", "cat"]}, {"ada", "cat"}), ({"assignment": [LAB]}, {"ada", "bob", "cat"}),
     ({"assignment": ["other"]}, set())],
)  # fmt: skip
def test_a_part_of_the_table(graded, options, students):
    assert {row["student_id"] for row in table(export(graded, SafeCsv, **options))} == students


NAMES = ["=cmd|' /C calc'!A0", "+1+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"]
HONEST = ['Smith, "Jo"', "O'Neil", "Zoë\nMüller", "日本", "a;b", "1-2"]


def test_names_with_commas_and_formulas(on_sqlite):
    """nbgrader's own table writes them as they are."""
    with Gradebook(on_sqlite.course.db_url, "tiny") as book:
        for number, name in enumerate(NAMES + HONEST):
            book.add_student(f"s{number:02}", first_name=name, last_name="x", email=f"{name}@x")
    found = sorted(table(export(on_sqlite, SafeCsv)), key=lambda row: row["student_id"])
    names = [row["first_name"] for row in found]
    assert names == [f"'{name}" for name in NAMES] + HONEST
    assert [row["email"] for row in found][-1] == "1-2@x"
    assert all(set(row) == set(COLUMNS) for row in found)


def test_numbers_are_left_alone():
    assert [harmless(value) for value in (-1.5, 0, None, "-1.5")] == [-1.5, 0, None, "'-1.5"]


def test_a_thousand_students_take_few_statements(on_sqlite):
    with Gradebook(on_sqlite.course.db_url, "tiny") as book:
        book.db.add_all(Student(id=f"s{n}", last_name=str(n)) for n in range(1000))
        book.db.commit()
    record(on_sqlite.course, LAB, [on_sqlite.graded(f"s{n}") for n in range(50)])
    with counted() as statements:
        assert len(table(export(on_sqlite, SafeCsv))) == 1000
    assert len(statements) < 60
