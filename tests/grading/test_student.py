"""The students' package: what is in it, what is not, and that every lab runs from it."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.labs_there import REGION, lines_of
from tutor_lib.grading import build, student
from tutor_lib.grading.intake.canon import labs_of

ROOT = Path(__file__).resolve().parents[2]
LABS = labs_of(ROOT)
TOP = "transformers-course/"
KINDS = ("labs", "solutions")
WRITTEN_FOR_STUDENTS = ("README.md", "nbgrader_config.py", "pyproject.toml")
INSTRUCTORS = "chapters/instructors.md"
# What may lie in a course and is for its instructor alone.
ELSE = """
    chapters/instructors.md chapters/.ipynb_checkpoints/intro.md gradebook.db grades.csv
    submitted/bob/attention/attention.ipynb build/source/attention/attention.ipynb
    labs/attention/mine.ipynb labs/attention/.ipynb_checkpoints/attention-checkpoint.ipynb
    tests/labs/test_x.py tutor_lib/__pycache__/x.py.pyc .git/config .venv/x.py
""".split()
# Says where each module of the library that the lab has used lies.
WHENCE = """
import sys
print(*{m.__file__ for n, m in sys.modules.items() if n.split(".")[0] == "tutor_lib"}, sep="\\n")
"""


def copy_of_the_course(folder, *labs):
    """What of the repository `make student` needs, with these labs."""
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("chapters", "tutor_lib", *(f"{x}/{lab}" for lab in labs for x in KINDS)):
        shutil.copytree(ROOT / name, folder / name, ignore=ignore)
    for name in (*student.ALONE, "nbgrader_config.py"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The package's files, packed from a copy in which much else lies."""
    course = copy_of_the_course(tmp_path_factory.mktemp("course"), "attention")
    for name in ELSE:
        (course / name).parent.mkdir(parents=True, exist_ok=True)
        (course / name).write_text("for the instructor alone")
    with zipfile.ZipFile(student.pack(course)) as package:
        assert all(name.startswith(TOP) for name in package.namelist())
        assert package.namelist() == sorted(package.namelist())
        return {name.removeprefix(TOP): package.read(name) for name in package.namelist()}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The package of this very repository, unpacked as a student unpacks it."""
    folder = tmp_path_factory.mktemp("home")
    course = copy_of_the_course(tmp_path_factory.mktemp("course"), *LABS)
    with zipfile.ZipFile(student.pack(course)) as package:
        package.extractall(folder)
    return folder / TOP


def test_its_project_is_the_course_s_without_grading(files):
    """An installed `tutor` would fail at its first import: its modules are not in the package."""
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert whole["project"].pop("scripts")
    assert whole["project"].pop("entry-points")
    assert tomllib.loads(files["pyproject.toml"].decode()) == whole


def test_it_holds_what_a_student_needs(files):
    for name in """
        README.md LICENSE pyproject.toml constraints.txt nbgrader_config.py
        labs/attention/attention.ipynb chapters/pipeline/attention.md chapters/images/demo.png
        tutor_lib/checks/run.py tutor_lib/assets/storyteller.safetensors
        tutor_lib/demos/kit.js tutor_lib/book/static/colours.css
    """.split():
        assert name in files


def test_it_holds_nothing_else(files):
    tops = {name.split("/")[0] for name in files}
    assert tops == {"README.md", "LICENSE", "pyproject.toml", "constraints.txt",
                    "nbgrader_config.py", "labs", "chapters", "tutor_lib"}  # fmt: skip
    assert [name for name in files if name.startswith("labs/")] == [
        "labs/attention/attention.ipynb"
    ]
    for name, data in files.items():
        assert "/." not in name, name
        assert not name.startswith("tutor_lib/grading"), name
        assert data != b"for the instructor alone", name


def test_every_file_is_the_courses_own(files):
    for name, data in files.items():
        if name not in WRITTEN_FOR_STUDENTS:
            assert data == (ROOT / name).read_bytes(), name


def test_it_holds_all_of_the_library_that_git_knows(files):
    command = ["git", "ls-files", "tutor_lib", "chapters"]
    known = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    left_out = set(known.split()) - set(files)
    assert all(name.startswith("tutor_lib/grading/") for name in left_out - {INSTRUCTORS})


@pytest.mark.parametrize("lab", LABS)
def test_no_answer_and_no_hidden_test_is_in_it(unpacked, lab):
    cells = build.read_source(ROOT / "solutions" / lab / f"{lab}.md").cells
    found = [match for c in cells for match in REGION.findall(c.source)]
    # A line such as `with torch.no_grad():`, which the lab shows elsewhere, gives nothing away.
    visible = lines_of(REGION.sub("", c.source) for c in cells)
    answers, hidden = (
        lines_of(text for kind, text in found if kind == wanted) - visible
        for wanted in ("SOLUTION", "HIDDEN TESTS")
    )
    assert len(answers) > 5
    assert len(hidden) > 5
    release = nbformat.read(unpacked / "labs" / lab / f"{lab}.ipynb", as_version=4)
    assert not lines_of(cell.source for cell in release.cells) & (answers | hidden)
    # A short line of a test may stand in the library too; a long one would be the test itself.
    telling = {line for line in hidden if len(line) > 60}
    for path in unpacked.rglob("*.*"):
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        assert "BEGIN SOLUTION" not in text, path
        assert "BEGIN HIDDEN" not in text, path
        assert not [line for line in telling if line in text], path


def test_the_same_course_gives_the_same_bytes(tmp_path):
    first = copy_of_the_course(tmp_path / "first", "attention")
    before = student.pack(first).read_bytes()
    for path in first.rglob("*"):
        os.utime(path, (0, 0))
    (first / "labs/attention/attention.ipynb").chmod(0o600)
    assert student.pack(first).read_bytes() == before
    with zipfile.ZipFile(student.pack(first)) as package:  # no entry knows when it was packed
        assert {entry.date_time for entry in package.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    second = shutil.copytree(first, tmp_path / "second")
    assert student.pack(second).read_bytes() == before


def test_links_between_its_texts_lead_somewhere(unpacked):
    for path in [*(unpacked / "chapters").rglob("*.md"), *(unpacked / "labs").rglob("*.ipynb")]:
        for link in re.findall(r"\]\(([\w./-]+\.(?:md|ipynb|png))\)", path.read_text()):
            assert (path.parent / link).is_file(), f"{path.name}: {link}"


def test_its_readme_opens_a_lab_that_is_there(unpacked):
    readme = (unpacked / "README.md").read_text()
    notebook = re.search(r"^jupyter lab (\S+)$", readme, re.M)[1]
    assert (unpacked / notebook).is_file()
    extra = re.search(r'-c (\S+) -e "\.\[(\w+)\]"', readme)
    assert (unpacked / extra[1]).is_file()
    assert f"\n{extra[2]} = [" in (unpacked / "pyproject.toml").read_text()


def run_lab(folder, lab):
    """The lab's notebook run from the package, with nothing else on the path before it."""
    path = folder / "labs" / lab / f"{lab}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(WHENCE))
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", allow_errors=True,
                            resources={"metadata": {"path": str(path.parent)}})  # fmt: skip
    # As the Validate button runs it: a closing part that trains takes a few steps only.
    alone = {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1", "JUPYTER_NO_CONFIG": "1",
             "NBGRADER_EXECUTION": "validate"}  # fmt: skip
    return client.execute(env=os.environ | alone)


def error_of(cell):
    """The error that a cell ended with, if it did."""
    return next((o for o in cell.get("outputs", []) if o.output_type == "error"), None)


@pytest.mark.parametrize("lab", LABS)
def test_a_lab_runs_from_it(unpacked, lab):
    """Every check says that the answer is not written; what needs it fails; nothing else does."""
    *cells, last = run_lab(unpacked, lab).cells
    whence = last.outputs[0].text.split()
    assert len(whence) > 5
    assert all(Path(path).is_relative_to(unpacked) for path in whence), whence

    checked, unwritten = 0, False
    for cell in cells:
        error = error_of(cell)
        about = cell.metadata.get("nbgrader", {})
        if cell.cell_type == "code" and about.get("grade") and not about.solution:
            assert error is not None, cell.source
            assert "not written yet" in "\n".join(error.traceback), error.traceback
            checked += 1
        elif error is not None:
            # What a cell of the closing part did not define, the next one misses.
            allowed = {"NotImplementedError", *(["NameError", "KeyError"] if unwritten else [])}
            assert error.ename in allowed, "\n".join(error.traceback)
            unwritten = True
    assert checked >= 5


def test_it_installs(unpacked, tmp_path):
    source = shutil.copytree(unpacked, tmp_path / "source")  # building leaves files
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--target", tmp_path / "there"]
    command = [sys.executable, "-m", "pip", "install", *options, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    packed, installed = (
        {path.relative_to(top) for path in top.rglob("*") if path.suffix in student.KINDS}
        for top in (unpacked / "tutor_lib", tmp_path / "there" / "tutor_lib")
    )
    assert len(packed) > 100
    assert packed <= installed


def test_the_command_releases_and_packs(tmp_path, capsys):
    course = copy_of_the_course(tmp_path, "attention")
    # An instructor who tried the lab out in labs/ does not hand the answers on.
    (course / "labs/attention/attention.ipynb").write_text("my own answers")
    assert student.main(["--course", str(course)]) == 0
    assert capsys.readouterr().out == os.path.join("build", "transformers-course.zip") + "\n"
    with zipfile.ZipFile(course / "build/transformers-course.zip") as package:
        notebook = nbformat.reads(
            package.read(f"{TOP}labs/attention/attention.ipynb"), as_version=4
        )
    assert any("YOUR CODE HERE" in cell.source for cell in notebook.cells)


def test_a_folder_that_is_no_course_is_told(tmp_path, capsys):
    assert student.main(["--course", str(tmp_path)]) == 1
    assert "is this the course's folder?" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["LICENSE", "labs/attention/attention.ipynb"])
def test_a_missing_file_is_named(tmp_path, name):
    course = copy_of_the_course(tmp_path, "attention")
    (course / name).unlink()
    with pytest.raises(ValueError, match=f"the course lacks .*{name}"):
        student.pack(course)


def test_help_is_friendly(capsys):
    with pytest.raises(SystemExit) as stop:
        student.main(["--help"])
    assert stop.value.code == 0
    assert "Pack what students need" in capsys.readouterr().out
