"""Recording is nbgrader's own, row by row, only faster, and survives what happens to programs."""

import copy
import dataclasses
import json
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tracemalloc
from datetime import datetime, timedelta

import nbformat
import pytest
import sqlalchemy
from nbgrader.api import Gradebook
from nbgrader.preprocessors import AssignLatePenalties, CheckCellMetadata, SaveAutoGrades
from nbgrader.utils import determine_grade

from tests.grading.gradebook.classroom import LAB, Classroom, counted, ended_with, printed, raised
from tutor_lib.grading.gradebook import database, rows
from tutor_lib.grading.gradebook import record as recording
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.fingerprint import fingerprint
from tutor_lib.grading.gradebook.record import record
from tutor_lib.grading.gradebook.settled import settled
from tutor_lib.grading.notes import Note

DUE = datetime(2026, 3, 1, 12)
RIGHT = {"double": "def double(x):\n    return x + x", "why": "Because of the sum."}
LATE = "c.LateSubmissionPlugin.penalty_method = 'zero'\n"


def honest(room):
    """Submissions that nbgrader grades rightly as well, by student."""
    early, late = DUE - timedelta(days=1), DUE + timedelta(hours=2)
    passed = {"double_check": [printed("✓ right")], "partial_check": [ended_with("2.5")]}
    failed = {"double_check": [raised()], "partial_check": [ended_with("0")]}
    return [
        room.graded("ada", RIGHT, outputs=passed, timestamp=early),
        room.graded("bob", RIGHT, outputs=failed, timestamp=late),
        room.graded("ça va, ¿Zoë?", RIGHT | {"why": "I know."}, outputs=passed, timestamp=late),
        room.graded("untouched", outputs={"double_check": [raised()]}),
    ]


def as_nbgrader_does(room, results):
    """Record results with nbgrader's own classes."""
    for submission, result in results:
        with Gradebook(room.course.db_url, "tiny") as book:
            book.update_or_create_student(submission.student)
            about = {"timestamp": submission.timestamp} if submission.timestamp else {}
            book.update_or_create_submission(LAB, submission.student, **about)
        notebook = copy.deepcopy(submission.notebook)
        for cell, outputs in zip(notebook.cells, result.outputs, strict=True):
            if cell.cell_type == "code":
                cell.outputs = [nbformat.from_dict(output) for output in outputs]
        names = {"notebook": LAB, "assignment": LAB, "student": submission.student}
        resources = {"nbgrader": names | {"db_url": room.course.db_url}}
        for kind in (SaveAutoGrades, AssignLatePenalties, CheckCellMetadata):
            kind(config=room.course.config).preprocess(notebook, resources)


def without_notes(told):
    return {
        student: {k: v for k, v in about.items() if k != "notes"} for student, about in told.items()
    }


def set_due(room):
    with Gradebook(room.course.db_url, "tiny") as book:
        book.update_or_create_assignment(LAB, duedate=DUE)


def by_hand(room, student, points=None, words=None, extra=None, part="why"):
    """What a person does in formgrader."""
    with Gradebook(room.course.db_url, "tiny") as book:
        grade = book.find_grade(part, LAB, LAB, student)
        grade.manual_score, grade.extra_credit, grade.needs_manual_grade = points, extra, False
        book.find_comment("why", LAB, LAB, student).manual_comment = words
        book.db.commit()


def grades(room, student):
    return {name: rest for name, *rest in fingerprint(room.course, LAB)[student]["grade"]}


@pytest.mark.parametrize("again", [False, True])
def test_honest_submissions_are_recorded_as_by_nbgrader(
    classroom, released, tmp_path_factory, again
):
    """Also a second time, after a person has graded some of it by hand."""
    folder = tmp_path_factory.mktemp("oracle")
    shutil.copytree(released, folder, dirs_exist_ok=True)
    for room in (rooms := [Classroom(folder), classroom]):
        with (room.folder / "nbgrader_config.py").open("a") as config:
            config.write(LATE)
        room.course = Course.open(room.folder)
        set_due(room)
    for room, how in zip(
        rooms, (as_nbgrader_does, lambda r, x: record(r.course, LAB, x)), strict=True
    ):
        how(room, honest(room))
        if again:
            by_hand(room, "ada", 1.5, "Good.", extra=0.5)
            by_hand(room, "bob", 3, part="double_check")
            by_hand(room, "ada", 5, part="draw")
            how(room, honest(room)[::-1])
    expected, found = (without_notes(fingerprint(room.course, LAB)) for room in rooms)
    assert found == expected
    assert found["bob"]["handed in"][2] == 0 if not again else 3  # the zero method: all of it
    # And nbgrader itself finds what it looks for.
    with Gradebook(classroom.course.db_url, "tiny") as book:
        submission = book.find_submission(LAB, "ada")
        assert submission.score == (5.5 if not again else 12.5)
        assert submission.needs_manual_grade


def test_a_result_is_told_as_it_now_stands(classroom):
    outputs = {"partial_check": [ended_with("-1")]}
    told, other = record(classroom.course, LAB, [
        classroom.graded("ada", RIGHT, outputs=outputs, notes=[Note("renamed", "Another name.")]),
        classroom.graded("bob", finished=()),
    ])  # fmt: skip
    assert (told.student, told.score, told.maximum) == ("ada", 3, 14)
    assert [note.code for note in told.notes] == ["renamed", "score"]
    assert (other.student, other.score, other.notes) == ("bob", 0, ())


def test_a_regrade_replaces_the_machine_and_keeps_the_person(classroom):
    record(classroom.course, LAB, [classroom.graded("ada", RIGHT)])
    assert grades(classroom, "ada")["double_check"] == [3, None, None, False]
    by_hand(classroom, "ada", 2.0, "Nearly.", extra=0.25)
    by_hand(classroom, "ada", 1.0, "Nearly.", part="double_check")
    record(classroom.course, LAB, [classroom.graded("ada", RIGHT, finished=["partial_check"])])
    assert grades(classroom, "ada") == {
        "double_check": [0, 1.0, None, True],
        "partial_check": [4, None, None, False],
        "why": [None, 2.0, 0.25, True],
        "draw": [None, None, None, True],
    }
    comments = dict(
        (name, rest) for name, *rest in fingerprint(classroom.course, LAB)["ada"]["comment"]
    )
    assert comments["why"] == [None, "Nearly."]


def test_a_cell_that_is_gone_has_earned_nothing(classroom):
    """Stock nbgrader keeps the points of the earlier grading."""
    record(classroom.course, LAB, [classroom.graded("ada", RIGHT)])
    submission, _ = classroom.graded("ada", RIGHT)
    del submission.notebook.cells[
        [c.get("id") for c in submission.notebook.cells].index("double_check")
    ]
    record(classroom.course, LAB, [(submission, classroom.result(submission))])
    assert grades(classroom, "ada")["double_check"] == [0, None, None, False]


@pytest.mark.parametrize("code", ["no-notebook", "unreadable"])
def test_who_handed_in_nothing_waits_for_nobody(classroom, code):
    result = classroom.graded("ada", notes=[Note(code, "There is none.")], finished=())
    record(classroom.course, LAB, [result])
    assert {tuple(rest) for rest in grades(classroom, "ada").values()} == {(0, None, None, False)}


def test_where_grading_failed_nothing_is_recorded(classroom):
    record(classroom.course, LAB, [classroom.graded("ada", RIGHT)])
    before = fingerprint(classroom.course, LAB)
    failed = {"notes": [Note("grader", "The disk was full.")], "finished": ()}
    told = record(
        classroom.course,
        LAB,
        [classroom.graded("ada", **failed), classroom.graded("eve", **failed)],
    )
    assert [(one.student, one.maximum) for one in told] == [("ada", 14), ("eve", 14)]
    assert fingerprint(classroom.course, LAB) == before
    assert not classroom.course.autograded("eve", LAB).exists()


def test_the_graded_notebook(classroom):
    outputs = {
        "double": [printed("hi")],
        "double_check": [raised()],
        "partial_check": [ended_with("2")],
    }
    result = classroom.graded("ada", RIGHT, outputs=outputs, timestamp=DUE,
                              notes=[Note("cell-time", "Too slow.", "double")])  # fmt: skip
    result[0].notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {}}
    result[0].notebook.cells[1].metadata |= {"tags": ["skip-execution"], "execution": {"x": 1}}
    record(classroom.course, LAB, [result])
    notebook = classroom.autograded("ada")
    nbformat.validate(notebook)
    cells = {cell.id: cell for cell in notebook.cells}
    assert cells["double"].outputs[0].text == "hi"
    assert cells["double"].source == RIGHT["double"]
    assert "HIDDEN TESTS" in cells["double_check"].source
    assert determine_grade(cells["partial_check"])[0] == 2
    assert set(notebook.metadata) == {"kernelspec", "language_info", "tutor"}
    assert notebook.metadata.tutor.notes == [
        {"code": "cell-time", "told": "Too slow.", "cell": "double"}
    ]
    assert all(set(cell.metadata) <= {"nbgrader"} for cell in notebook.cells)
    folder = classroom.course.autograded("ada", LAB)
    assert stat.S_IMODE((folder / f"{LAB}.ipynb").stat().st_mode) == 0o444
    assert (folder / "timestamp.txt").read_text() == "2026-03-01 12:00:00 UTC\n"
    assert sorted(p.name for p in folder.iterdir()) == ["timestamp.txt", f"{LAB}.ipynb"]


def test_a_group_of_instructors_shares_the_files(on_sqlite):
    with (on_sqlite.folder / "nbgrader_config.py").open("a") as config:
        config.write("c.CourseDirectory.groupshared = True\n")
    on_sqlite.course = Course.open(on_sqlite.folder)
    record(on_sqlite.course, LAB, [on_sqlite.graded("ada")])
    path = on_sqlite.course.autograded("ada", LAB) / f"{LAB}.ipynb"
    assert stat.S_IMODE(path.stat().st_mode) == 0o664
    for folder in path.parents[:3]:
        assert folder.stat().st_mode & 0o2770 == 0o2770


def test_nothing_is_handed_in_and_nothing_happens(classroom):
    assert record(classroom.course, LAB, []) == []
    assert fingerprint(classroom.course, LAB) == {}


def test_recording_twice_is_recording_once(classroom):
    record(classroom.course, LAB, honest(classroom))
    once = fingerprint(classroom.course, LAB)
    content = (classroom.course.autograded("ada", LAB) / f"{LAB}.ipynb").read_bytes()
    record(classroom.course, LAB, honest(classroom)[::-1])
    assert fingerprint(classroom.course, LAB) == once
    assert (classroom.course.autograded("ada", LAB) / f"{LAB}.ipynb").read_bytes() == content


def test_a_lab_that_the_gradebook_does_not_know(classroom):
    with pytest.raises(ValueError, match="the gradebook has no lab 'other'; `make labs` enters it"):
        record(classroom.course, "other", [classroom.graded("ada")])


def test_a_cell_that_the_gradebook_does_not_know(classroom):
    submission, _ = classroom.graded("ada")
    submission.notebook.cells[3].metadata.nbgrader.grade_id = "novel"
    with pytest.raises(ValueError, match="does not know novel of tiny; `make labs`"):
        record(classroom.course, LAB, [(submission, classroom.result(submission))])
    assert fingerprint(classroom.course, LAB) == {}


def test_a_course_without_a_gradebook(on_sqlite):
    (on_sqlite.folder / "gradebook.db").unlink()
    with pytest.raises(ValueError, match=r"no gradebook sqlite:///.*gradebook\.db; `make labs`"):
        record(on_sqlite.course, LAB, [on_sqlite.graded("ada")])
    assert not (on_sqlite.folder / "gradebook.db").exists()


def test_a_batch_that_is_killed_half_way_is_found_and_mended(classroom, monkeypatch):
    """The files of the first students are new by then, the gradebook is not."""
    results = honest(classroom)
    record(classroom.course, LAB, results)
    assert set(settled(classroom.course, LAB)) == {submission.student for submission, _ in results}
    better = [classroom.graded(s.student, RIGHT, timestamp=s.timestamp) for s, _ in results]
    place, placed = recording._place, []

    def dies(course, lab, entry):
        if len(placed) == 2:
            raise KeyboardInterrupt
        placed.append(entry.submission.student)
        place(course, lab, entry)

    before = without_notes(fingerprint(classroom.course, LAB))
    monkeypatch.setattr(recording, "_place", dies)
    with pytest.raises(KeyboardInterrupt):
        record(classroom.course, LAB, better)
    monkeypatch.undo()
    assert without_notes(fingerprint(classroom.course, LAB)) == before
    assert not set(placed) & set(settled(classroom.course, LAB))
    record(classroom.course, LAB, better)
    assert len(settled(classroom.course, LAB)) == len(results)
    assert grades(classroom, "bob")["partial_check"] == [4, None, None, False]


def test_a_comment_alone_can_be_out_of_step(classroom, monkeypatch):
    """A wrong answer in place of none: no more points, but not "No response." any more."""
    record(classroom.course, LAB, [classroom.graded("ada", finished=())])
    wrong = classroom.graded("ada", {"double": "def double(x):\n    return x"}, finished=())
    place = recording._place

    def dies(*arguments):
        place(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(recording, "_place", dies)
    with pytest.raises(KeyboardInterrupt):
        record(classroom.course, LAB, [wrong])
    assert settled(classroom.course, LAB) == {}


def test_a_graded_notebook_that_is_cut_off_is_not_settled(classroom):
    record(classroom.course, LAB, [classroom.graded("ada", timestamp=DUE), classroom.graded("bob")])
    assert settled(classroom.course, LAB) == {"ada": DUE, "bob": None}
    path = classroom.course.autograded("ada", LAB) / f"{LAB}.ipynb"
    whole = path.read_bytes()
    path.chmod(0o644)
    for content in (whole[:-200], b"", b"[]", json.dumps({"metadata": {"tutor": "x"}}).encode()):
        path.write_bytes(content)
        assert set(settled(classroom.course, LAB)) == {"bob"}


WRITER = """
import sys
from pathlib import Path
from tests.grading.gradebook.classroom import Classroom, ended_with
from tutor_lib.grading.gradebook.record import record
folder, points, *students = sys.argv[1:]
room = Classroom(Path(folder))
outputs = {"partial_check": [ended_with(points)]}
print("ready", flush=True)
sys.stdin.readline()
for round in range(3):
    record(room.course, "tiny", [room.graded(s, outputs=outputs) for s in students])
"""


def start(room, root, points, students):
    command = [sys.executable, "-c", WRITER, str(room.folder), points, *students]
    return subprocess.Popen(command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip


def test_two_graders_at_once_lose_nothing(classroom, root):
    """Two processes write thirty students each, ten of them the same ones."""
    mine, ours, theirs = ([f"{who}{n}" for n in range(10 * size)] for who, size in
                          (("a", 2), ("b", 1), ("c", 2)))  # fmt: skip
    writers = [
        start(classroom, root, "1", mine + ours),
        start(classroom, root, "2", ours[::-1] + theirs),
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n", writer.stderr.read()
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.communicate(timeout=120)[1] == ""
        assert writer.returncode == 0
    told = {student: dict((n, p) for n, p, *_ in about["grade"])["partial_check"]
            for student, about in fingerprint(classroom.course, LAB).items()}  # fmt: skip
    assert told == dict.fromkeys(mine, 1) | dict.fromkeys(theirs, 2) | {s: told[s] for s in ours}
    assert {told[s] for s in ours} <= {1, 2}
    # Whoever was last: the files are of the same one.
    assert len(settled(classroom.course, LAB)) == len(mine + ours + theirs)


def test_a_killed_grader_leaves_a_gradebook_that_can_be_finished(classroom, root):
    students = [f"s{n}" for n in range(60)]
    writer = start(classroom, root, "1", students)
    assert writer.stdout.readline() == "ready\n"
    writer.stdin.write("go\n")
    writer.stdin.flush()
    folder = classroom.folder / "autograded" / "s30"
    while not folder.exists() and writer.poll() is None:
        pass
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=60)
    record(classroom.course, LAB, [
        classroom.graded(s, outputs={"partial_check": [ended_with("1")]}) for s in students
    ])  # fmt: skip
    assert len(settled(classroom.course, LAB)) == len(students)
    assert {g["partial_check"][0] for g in map(lambda s: grades(classroom, s), students[:5])} == {1}


def test_who_records_keeps_others_waiting_from_before_it_reads(classroom, monkeypatch):
    """Or both would write what follows from the same old state."""
    lab_of, found = rows.lab_of, []

    def probed(*arguments):
        url = sqlalchemy.make_url(classroom.course.db_url)
        lite = url.get_backend_name() == "sqlite"
        options = {"connect_args": {"timeout": 0, "isolation_level": None}} if lite else {}
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, **options)
        lock = "SELECT id FROM assignment WHERE name = 'tiny' FOR UPDATE NOWAIT"
        with engine.connect() as other, pytest.raises(sqlalchemy.exc.OperationalError) as error:
            other.exec_driver_sql("BEGIN IMMEDIATE" if lite else lock)
        found.append(str(error.value.orig))
        return lab_of(*arguments)

    monkeypatch.setattr(rows, "lab_of", probed)
    record(classroom.course, LAB, [classroom.graded("ada")])
    assert len(found) == 1
    assert "lock" in found[0]


def test_a_gradebook_that_stays_locked_is_named(on_sqlite, monkeypatch):
    monkeypatch.setattr(database, "WAIT", 0.01)
    with sqlite3.connect(on_sqlite.folder / "gradebook.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(RuntimeError, match=r"gradebook\.db stays busy: another program"):
            record(on_sqlite.course, LAB, [on_sqlite.graded("ada")])
        other.execute("ROLLBACK")
    other.close()
    record(on_sqlite.course, LAB, [on_sqlite.graded("ada")])


def test_a_class_takes_few_statements(classroom):
    """nbgrader sends dozens a cell. Here it is a handful for a batch, first time and again."""
    results = [
        classroom.graded(f"s{n}", RIGHT, finished=["double_check"][n % 2 :]) for n in range(100)
    ]
    for _ in range(2):
        with counted() as statements:
            record(classroom.course, LAB, results)
        assert len(statements) <= 100


def test_memory_stays_flat(on_sqlite):
    """What is recorded is let go: a batch is held at a time, and a line about each student."""
    submission, result = on_sqlite.graded("", RIGHT, outputs={"double": [printed("x" * 40_000)]})

    def peak(count):
        many = ((dataclasses.replace(submission, student=f"s{n}"), result) for n in range(count))
        tracemalloc.start()
        record(on_sqlite.course, LAB, many)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)
    assert peak(250) - peak(100) < 150 * 10_000
