"""The lab builder: the same bytes each time, and an error that names the cell."""

import os
import subprocess
import sys

import nbformat
import pytest

from tests.grading.myst import HEAD
from tutor_lib.grading import build

SOLUTION = {"grade": False, "grade_id": "double", "locked": False, "schema_version": 3,
            "solution": True, "task": False}  # fmt: skip
CHECK = SOLUTION | {"grade": True, "grade_id": "check", "locked": True, "solution": False,
                    "points": 3}  # fmt: skip


def cell(about, code):
    """One MyST code cell."""
    lines = [f"  {key}: {str(value).lower()}" for key, value in about.items()]
    head = "\n".join(["---", "nbgrader:", *lines, "---"]) if about else ""
    return f"```{{code-cell}} ipython3\n{head}\n{code}\n```\n\n"


ANSWER = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
TESTS = "assert double(1) == 2\n### BEGIN HIDDEN TESTS\nassert double(3) == 6\n### END HIDDEN TESTS"


def write(folder, *cells):
    """A course with one lab, `tiny`."""
    path = folder / "solutions" / "tiny" / "tiny.md"
    path.parent.mkdir(parents=True)
    path.write_text(HEAD + "".join(cells))
    return path


@pytest.fixture
def course(tmp_path, root):
    write(tmp_path, cell(SOLUTION, ANSWER), cell(CHECK, TESTS))
    (tmp_path / "nbgrader_config.py").write_bytes((root / "nbgrader_config.py").read_bytes())
    return tmp_path


def test_ids_come_from_grade_id_or_position(course):
    notebook = build.read_source(course / "solutions/tiny/tiny.md")
    assert [c.id for c in notebook.cells] == ["cell-00", "double", "check"]
    nbformat.validate(notebook)


def test_the_source_notebook_is_the_same_each_time(course):
    first = build.write_source(course, "tiny").read_bytes()
    assert build.write_source(course, "tiny").read_bytes() == first


def test_release_takes_out_answer_and_hidden_test(course, capsys):
    assert build.main(["tiny", "--course", str(course)]) == 0
    assert capsys.readouterr().out.split() == [os.path.join("labs", "tiny", "tiny.ipynb")]
    release = (course / "labs/tiny/tiny.ipynb").read_text()
    assert "double(1) == 2" in release
    for word in ("2 * x", "double(3)", "SOLUTION", "HIDDEN"):
        assert word not in release


@pytest.mark.parametrize(
    ("cells", "problem"),
    [
        ([cell({}, ANSWER)], "BEGIN SOLUTION in a cell without nbgrader metadata"),
        ([cell({}, TESTS)], "BEGIN HIDDEN TESTS in a cell without nbgrader metadata"),
        (
            [cell({"grade": True}, "1")],
            "nbgrader metadata without grade_id, locked",
        ),
        ([cell(CHECK, TESTS), cell(CHECK, TESTS)], "grade_id 'check' comes twice"),
        ([cell(CHECK | {"points": "many"}, TESTS)], "check is graded and needs points"),
        ([cell(CHECK | {"points": -1}, TESTS)], "points of 0 or more, got -1"),
        ([cell(CHECK, ANSWER)], "BEGIN SOLUTION, but check has solution: false"),
        ([cell(SOLUTION, TESTS)], "BEGIN HIDDEN TESTS, but double has grade: false"),
    ],
)
def test_malformed_metadata_name_the_cell(tmp_path, cells, problem, capsys):
    write(tmp_path, *cells)
    assert build.main(["--course", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert problem in told
    assert "in the cell that begins" in told
    assert not (tmp_path / "labs").exists()


def test_a_file_that_is_no_notebook_is_told(tmp_path, capsys):
    write(tmp_path).write_text("---\nkernelspec:\n  name: python3\n---\n\n# No display name\n")
    assert build.main(["--course", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "tiny.md: 'display_name' is a required property" in told


def test_a_cell_with_broken_yaml_is_told(tmp_path, capsys):
    write(tmp_path, "```{code-cell} ipython3\n---\nnbgrader: {grade: [\n---\n1\n```\n")
    assert build.main(["--course", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "tiny.md" in told


def test_an_unknown_lab_is_told_with_those_that_there_are(course, capsys):
    assert build.main(["tinny", "--course", str(course)]) == 1
    assert capsys.readouterr().err == "error: no lab 'tinny'; there are: tiny\n"


def test_a_folder_without_labs_is_told(tmp_path, capsys):
    assert build.main(["--course", str(tmp_path)]) == 1
    assert "is this the course's folder?" in capsys.readouterr().err


def test_what_nbgrader_says_when_it_fails_is_passed_on(course, capsys):
    (course / "nbgrader_config.py").write_text("raise RuntimeError('a broken configuration')\n")
    assert build.main(["--course", str(course)]) == 1
    assert "nbgrader could not release tiny" in capsys.readouterr().err


def test_help_is_friendly(capsys):
    with pytest.raises(SystemExit) as stop:
        build.main(["--help"])
    assert stop.value.code == 0
    out = capsys.readouterr().out
    assert "Make the notebooks that students open" in out
    assert "LAB" in out


def test_grading_imports_neither_torch_nor_the_rest_of_the_library():
    code = (
        "import sys, tutor_lib.grading.build, tutor_lib.grading.cli; "
        "import tutor_lib.grading.run.console, tutor_lib.grading.run.server; "
        "print(*[m for m in sys.modules if m == 'torch' or m.startswith('tutor_lib.')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = done.stdout.split()
    assert "tutor_lib.grading.build" in found
    assert [name for name in found if not name.startswith("tutor_lib.grading")] == []


def test_help_comes_at_once():
    """nbgrader takes a second to import."""
    code = "import sys, tutor_lib.grading.cli; print('nbgrader' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
