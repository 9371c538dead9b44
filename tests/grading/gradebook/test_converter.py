"""`nbgrader autograde` and formgrader's button call what is installed, and behave as ever."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from datetime import datetime

import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import api as module
from nbgrader.apps import autogradeapp
from nbgrader.converters import NbGraderException
from nbgrader.converters.autograde import Autograde
from traitlets.config import Config

from tests.grading.gradebook.classroom import LAB
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.record import record

CONFIG = """
from tutor_lib.grading.gradebook.converter import install
install(c, "stub.grade")
"""
# Stands in for the real grading: it writes down its arguments, and fails who is called Eve.
STUB = """
import json, threading
from pathlib import Path

def grade(root, lab, students, force, log):
    log.info("grading %d", len(students))
    about = {"root": str(root), "lab": lab, "students": students, "force": force,
             "main": threading.current_thread() is threading.main_thread()}
    with (root / "calls.json").open("a") as file:
        file.write(json.dumps(about) + "\\n")
    return [student for student in students if student == "eve"]
"""


@pytest.fixture
def room(on_sqlite):
    """A course with the grading installed, and three submissions, of which one has no notebook."""
    with (on_sqlite.folder / "nbgrader_config.py").open("a") as config:
        config.write(CONFIG)
    (on_sqlite.folder / "stub.py").write_text(STUB)
    for student in ("ada", "bob b", "cat"):
        folder = on_sqlite.folder / "submitted" / student / LAB
        folder.mkdir(parents=True)
        if student != "cat":
            release = on_sqlite.folder / "labs" / LAB / f"{LAB}.ipynb"
            (folder / f"{LAB}.ipynb").write_bytes(release.read_bytes())
    on_sqlite.course = Course.open(on_sqlite.folder)
    return on_sqlite


def nbgrader(room, *arguments):
    return subprocess.run([sys.executable, "-m", "nbgrader", *arguments], cwd=room.folder,
                          env=os.environ | {"JUPYTER_NO_CONFIG": "1"}, capture_output=True,
                          text=True, timeout=120)  # fmt: skip


def calls(room):
    path = room.folder / "calls.json"
    found = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


def in_process(room, monkeypatch, **traits):
    """What the command does with its options, without waiting for its imports."""
    monkeypatch.syspath_prepend(str(room.folder))
    config = Config(room.course.config)
    for name, value in traits.items():
        section, trait = name.split("__")
        config[section][trait] = value
    app = autogradeapp.AutogradeApp(config=config)
    app.coursedir = type(room.course.directory)(config=config, assignment_id=LAB)
    return autogradeapp.Autograde(coursedir=app.coursedir, parent=app)


def test_the_command(room):
    """It grades who has handed in, also without a notebook; then it has nothing to do."""
    done = nbgrader(room, "autograde", LAB)
    assert done.returncode == 0, done.stderr
    assert "grading 3" in done.stderr
    assert calls(room) == [{"root": str(room.folder), "lab": LAB, "force": False, "main": True,
                            "students": ["ada", "bob b", "cat"]}]  # fmt: skip
    record(room.course, LAB, [room.graded(student) for student in ("ada", "bob b", "cat")])
    done = nbgrader(room, "autograde", LAB, "--student=ada")
    assert done.returncode == 0
    assert f"Skipping existing assignment: {room.course.autograded('ada', LAB)}" in done.stderr
    assert calls(room) == []


@pytest.mark.parametrize(
    ("arguments", "students"),
    [({"BaseConverter__force": True}, ["ada", "bob b", "cat"]),
     ({"CourseDirectory__student_id": "b*"}, ["bob b"]),
     ({"CourseDirectory__student_id_exclude": "ada,cat"}, ["bob b"]),
     ({"CourseDirectory__notebook_id": "t*"}, ["ada", "bob b", "cat"])],
)  # fmt: skip
def test_options(room, monkeypatch, arguments, students):
    in_process(room, monkeypatch, **arguments).start()
    [call] = calls(room)
    assert (call["students"], call["force"]) == (students, "BaseConverter__force" in arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [({"CourseDirectory__student_id": "nobody"}, "No submissions were matched by .*submitted"),
     ({"CourseDirectory__notebook_id": "other"}, r"No notebooks were matched by 'other\.ipynb'"),
     ({"Execute__enabled": False}, "--no-execute cannot be had"),
     ({"CourseDirectory__db_url": "sqlite:////x.db"}, "Name the gradebook in nbgrader_config.py")],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(room, monkeypatch, arguments, told):
    with pytest.raises(NbGraderException, match=told):
        in_process(room, monkeypatch, **arguments).start()
    assert calls(room) == []


def test_an_unknown_lab(room, monkeypatch):
    (room.folder / "submitted" / "ada" / "other").mkdir()
    converter = in_process(room, monkeypatch)
    converter.coursedir.assignment_id = "other"
    with pytest.raises(NbGraderException, match="the gradebook has no lab 'other'"):
        converter.start()


def test_who_cannot_be_graded_is_named(room, monkeypatch):
    (room.folder / "submitted" / "eve" / LAB).mkdir(parents=True)
    with pytest.raises(NbGraderException, match=r"Not graded: eve\. Why is said above\."):
        in_process(room, monkeypatch).start()
    assert len(calls(room)[0]["students"]) == 4


def test_students_may_have_to_be_known(room, monkeypatch):
    with Gradebook(room.course.db_url, "tiny") as book:
        book.add_student("cat")
    with pytest.raises(NbGraderException, match="Not graded: ada, bob b"):
        in_process(room, monkeypatch, Autograde__create_student=False).start()
    assert calls(room)[0]["students"] == ["cat"]


def test_who_hands_in_anew_is_graded_anew(room, monkeypatch):
    stamps = {"ada": "2026-01-01 00:00 UTC", "bob b": "2026-01-01 00:01 UTC", "cat": "tomorrow"}
    record(room.course, LAB, [room.graded(s, timestamp=datetime(2026, 1, 1)) for s in stamps])
    for student, stamp in stamps.items():
        (room.course.submitted(student, LAB) / "timestamp.txt").write_text(stamp)
    in_process(room, monkeypatch).start()
    assert [call["students"] for call in calls(room)] == [["bob b"]]


def test_what_a_killed_run_left_is_graded_again(room, monkeypatch):
    record(room.course, LAB, [room.graded(student) for student in ("ada", "bob b", "cat")])
    path = room.course.autograded("ada", LAB) / f"{LAB}.ipynb"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-9])
    (room.course.autograded("cat", LAB) / f"{LAB}.ipynb").unlink()
    in_process(room, monkeypatch).start()
    assert calls(room)[0]["students"] == ["ada", "cat"]


def test_hooks_are_run(room, monkeypatch):
    ran = []
    converter = in_process(room, monkeypatch)
    converter.pre_convert_hook = lambda **about: ran.append(("pre", about["assignment"]))
    converter.post_convert_hook = lambda **about: ran.append(("post", about["student"]))
    converter.start()
    assert ran == [("pre", LAB), ("post", "*")]


def test_formgraders_button(room, monkeypatch):
    """It runs inside the server's event loop, where asyncio.run would raise."""
    monkeypatch.syspath_prepend(str(room.folder))

    async def press(student):
        api = module.NbGraderAPI(room.course.directory, config=room.course.config)
        return api.autograde(LAB, student)

    assert threading.current_thread() is threading.main_thread()
    done = asyncio.run(press("bob b"))
    assert done["success"], done
    assert "grading 1" in done["log"]
    [call] = calls(room)
    assert (call["students"], call["force"], call["main"]) == (["bob b"], True, False)
    failed = asyncio.run(press("nobody"))
    assert not failed["success"]
    assert "No submissions were matched" in failed["log"]


def test_another_courses_autograde_is_nbgraders_own(room, monkeypatch):
    """One server may show several courses, and the class is in place for all."""
    converter = in_process(room, monkeypatch, SandboxedAutograde__grade="")
    started = []
    monkeypatch.setattr(Autograde, "start", lambda self: started.append(self))
    converter.start()
    assert started == [converter]


def test_the_other_commands_work(room):
    """And none of them imports what grades."""
    (room.folder / "stub.py").write_text("raise RuntimeError('imported')")
    commands = [
        ["generate_assignment", LAB, "--force"],
        ["db", "assignment", "list"],
        ["validate", f"labs/{LAB}/{LAB}.ipynb"],
    ]
    for arguments in commands:
        done = nbgrader(room, *arguments)
        assert done.returncode == 0, done.stderr
        assert "imported" not in done.stderr
    assert "VALIDATION FAILED" in done.stdout
