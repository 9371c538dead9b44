"""A course is opened as nbgrader opens it, and finds everybody who handed in."""

import json
import os

import pytest
from nbgrader.coursedir import CourseDirectory

from tests.grading.gradebook.classroom import LAB
from tutor_lib.grading.gradebook.course import Course

CONFIG = """
from pathlib import Path
c = get_config()
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a configuration, while we are in another course's folder."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "nbgrader_config.py").write_text("raise RuntimeError('the other course')")
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("JUPYTER_NO_CONFIG", "1")
    folder = tmp_path / "course [1]"
    folder.mkdir()
    (folder / "nbgrader_config.py").write_text(CONFIG)
    return folder


def hand_in(folder, *students):
    for student in students:
        (folder / "submitted" / student / LAB).mkdir(parents=True)


def configure(folder, line):
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write(f"{line}\n")


def test_its_places_are_nbgraders(folder):
    configure(folder, "c.CourseDirectory.submitted_directory = 'in'")
    course = Course.open(folder)
    assert course.root == folder
    assert course.db_url == f"sqlite:///{folder / 'gradebook.db'}"
    assert course.submitted("ada", LAB) == folder / "in" / "ada" / LAB
    assert course.autograded("ada", LAB) == folder / "autograded" / "ada" / LAB
    nbgrader = CourseDirectory(config=course.config)
    assert nbgrader.format_path("in", "ada", LAB) == str(course.submitted("ada", LAB))


def test_everybody_who_handed_in_is_found(folder):
    odd = ["zoe", "ada", "a b", "日本", "o'Neil", "-x", "=cmd()", "e\u0301"]
    hand_in(folder, *odd, ".hidden")
    (folder / "submitted" / "other" / "another lab").mkdir(parents=True)
    (folder / "submitted" / "README.txt").write_text("no student")
    assert Course.open(folder).students(LAB) == sorted(odd)


def test_links_are_found_so_that_they_can_be_refused(folder):
    hand_in(folder, "ada")
    (folder / "submitted" / "eve").symlink_to(folder / "submitted" / "ada")
    (folder / "submitted" / "bob").mkdir()
    (folder / "submitted" / "bob" / LAB).symlink_to(folder / "nowhere")
    (folder / "submitted" / "cat").mkdir()
    (folder / "submitted" / "cat" / LAB).write_text("a file")
    assert Course.open(folder).students(LAB) == ["ada", "bob", "cat", "eve"]


def test_names_that_the_gradebook_cannot_hold_are_passed_over(folder, caplog):
    """nbgrader's commands would take the last for a pattern of other names."""
    hand_in(folder, "ada", "x" * 128, "y" * 129, "tab\there", "[a-z]*")
    os.makedirs(os.fsencode(folder / "submitted") + b"/\xff/" + LAB.encode())
    assert Course.open(folder).students(LAB) == ["ada", "x" * 128]
    assert caplog.text.count("cannot be a student's id. Rename the folder.") == 4


def test_some_of_them_can_be_named(folder):
    hand_in(folder, "ada", "bob", "cat")
    course = Course.open(folder)
    assert course.students(LAB, ["cat", "ada"]) == ["ada", "cat"]
    with pytest.raises(ValueError, match=r"'eve' has handed in nothing: no .*submitted/eve/tiny"):
        course.students(LAB, ["ada", "eve"])


def test_a_lab_is_no_pattern(folder):
    for lab in ("lab [1]", "lab 1", "lab *"):
        (folder / "submitted" / f"of {len(lab)}" / lab).mkdir(parents=True)
    assert Course.open(folder).students("lab [1]") == ["of 7"]
    assert Course.open(folder).students("lab *") == ["of 5"]


def test_nobody_is_an_empty_list(folder):
    assert Course.open(folder).students(LAB) == []


def test_another_structure_of_folders(folder):
    shape = "{nbgrader_step}/{assignment_id}/{student_id}/final"
    configure(folder, f"c.CourseDirectory.directory_structure = {shape!r}")
    for student in ("ada", "bob"):
        (folder / "submitted" / LAB / student / "final").mkdir(parents=True)
    assert Course.open(folder).students(LAB) == ["ada", "bob"]


@pytest.mark.parametrize(
    ("pattern", "left_out", "chosen"),
    [
        ("*", "", ["ada", "b", "bob"]),
        ("b*", "", ["b", "bob"]),
        ("[b]", "", ["b"]),
        ("*", "ada,bob", ["b"]),
        ("eve", "", []),
    ],
)
def test_nbgraders_choice_of_students(folder, pattern, left_out, chosen):
    hand_in(folder, "ada", "bob", "b")
    configure(folder, f"c.CourseDirectory.student_id = {pattern!r}")
    configure(folder, f"c.CourseDirectory.student_id_exclude = {left_out!r}")
    assert Course.open(folder).chosen(LAB) == chosen


@pytest.mark.parametrize(
    ("lines", "score", "penalty"),
    [
        ([], 7.0, None),
        (["c.LateSubmissionPlugin.penalty_method = 'zero'"], 7.0, 7.0),
        (["c.AssignLatePenalties.plugin_class = 'course_plugin.Half'"], 7.0, 3.5),
    ],
)
def test_what_being_late_costs(folder, monkeypatch, lines, score, penalty):
    (folder / "course_plugin.py").write_text(
        "from nbgrader.plugins import BasePlugin\n"
        "class Half(BasePlugin):\n"
        "    def late_submission_penalty(self, student, score, seconds):\n"
        "        return score / 2\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    for line in lines:
        configure(folder, line)
    assert Course.open(folder).penalty("ada", score, 60) == penalty


def test_penalties_can_be_switched_off(folder):
    configure(folder, "c.AssignLatePenalties.enabled = False")
    assert Course.open(folder).penalty is None


@pytest.mark.parametrize(
    ("line", "mode"),
    [
        ("", 0o444),
        ("c.BaseConverter.permissions = 640", 0o640),
        ("c.CourseDirectory.groupshared = True", 0o664),
    ],
)
def test_permissions_are_nbgraders(folder, line, mode):
    configure(folder, line)
    assert Course.open(folder).permissions == mode


def test_a_folder_without_a_configuration(tmp_path):
    with pytest.raises(ValueError, match=r"no nbgrader_config\.py in .*; is this the course's"):
        Course.open(tmp_path)


def test_a_broken_configuration_is_not_passed_over(folder):
    configure(folder, "c.CourseDirectory.db_url = undefined")
    with pytest.raises(NameError, match="undefined"):
        Course.open(folder)


def test_the_configuration_can_be_read_again(folder):
    assert json.dumps(Course.open(folder).config) == json.dumps(Course.open(folder).config)
