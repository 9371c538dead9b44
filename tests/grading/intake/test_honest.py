"""What an honest student hands in is graded as it is, without a word, whatever saved it."""

import io
import json
import os
import shutil

import nbformat
import pytest
from nbgrader.nbgraderformat import MetadataValidator
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearOutput,
    DeduplicateIds,
    OverwriteCells,
    OverwriteKernelspec,
)
from nbgrader.utils import compute_checksum, determine_grade, is_grade

from tests.grading.intake.tiny import (
    ANSWERS,
    DOUBLE,
    IDS,
    LOCKED,
    WHY,
    cell,
    find,
    name_of,
    sources,
)
from tutor_lib.grading import build
from tutor_lib.grading.intake import Canon, take_in
from tutor_lib.grading.intake.reading import cells_of

pytestmark = pytest.mark.xdist_group("intake")  # the course is made once


def by_colab(book):
    """New ids in the metadata, outputs, a format without ids."""
    book["metadata"] = {"colab": {"provenance": []}, "kernelspec": {"name": "python3"}}
    book["nbformat_minor"] = 0
    for n, c in enumerate(book["cells"]):
        del c["id"]
        c["metadata"] |= {"id": f"Zx{n}", "outputId": "a", "colab": {"base_uri": "https"}}


def by_vscode(book):
    book["metadata"]["vscode"] = {"interpreter": {"hash": "a"}}
    for c in book["cells"]:
        c["metadata"]["vscode"] = {"languageId": "python"}
        c["id"] = "abc" + str(id(c))


def by_jupyterlab(book):
    book["metadata"]["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {}}}
    for n, c in enumerate(book["cells"]):
        c["metadata"] |= {"collapsed": True, "scrolled": False, "trusted": True, "tags": []}
        c["metadata"]["execution"] = {"iopub.status.busy": "2024-05-01T00:00:00Z"}
        if c["cell_type"] == "code":
            c["execution_count"] = n
            c["outputs"] = [{"output_type": "stream", "name": "stderr", "text": ["careful\n"]}]


def by_windows(book):
    for c in book["cells"]:
        c["source"] = c["source"].replace("\n", "\r\n") + "  \r\n"


def by_lines(book):
    for c in book["cells"]:
        c["source"] = c["source"].splitlines(keepends=True)


def with_own_cells(book):
    book["cells"].insert(3, cell("code", "try_it = 1", id="a"))
    book["cells"].append(cell("raw", "notes", {"tags": ["later"]}, id="b"))


def by_old_nbgrader(book):
    """Points as a float, no word of tasks."""
    for c in book["cells"]:
        if about := c["metadata"].get("nbgrader"):
            if not about["task"]:
                del about["task"]
            if "points" in about:
                about["points"] = float(about["points"])


SAVED = [by_colab, by_vscode, by_jupyterlab, by_windows, by_lines, with_own_cells, by_old_nbgrader]


@pytest.mark.parametrize("save", SAVED, ids=lambda save: save.__name__)
def test_whatever_saved_it(save, folder, book):
    save(book)
    submission = folder.taken(book)
    assert submission.notes == ()
    got = sources(submission)
    assert list(got) == list(IDS)
    for grade_id, answer in ANSWERS.items():
        assert [line.rstrip() for line in got[grade_id].splitlines()] == answer.splitlines()


def test_what_the_folder_holds_besides(folder, book):
    """A checkpoint, a Mac's litter, a picture with a narrow space in its name, a time stamp."""
    name = "Screenshot 3.04\u202fPM.png"
    for litter in (".ipynb_checkpoints/tiny-checkpoint.ipynb", "__MACOSX/._tiny.ipynb",
                   ".DS_Store", "__pycache__/helper.pyc"):  # fmt: skip
        folder.put("{}", litter)
    folder.put(b"\x89PNG", f"pictures/{name}")
    folder.put("def f(): pass", "torch.py")
    folder.put("2024-05-01 10:00:00 UTC", "timestamp.txt")
    os.utime(folder.put(book), (0, 0))  # before it was handed in
    submission = folder.take()
    assert submission.notes == ()
    assert submission.files == {f"pictures/{name}": b"\x89PNG", "torch.py": b"def f(): pass"}


def test_a_byte_order_mark_and_a_later_minor_format(folder, book):
    book["nbformat_minor"] = 99
    folder.put(b"\xef\xbb\xbf" + json.dumps(book).encode())
    assert folder.take().notes == ()


def test_the_release_untouched(folder, canon):
    """nbgrader sees that nobody wrote there, also after a change of line endings."""
    book = json.loads(nbformat.writes(canon.release))
    for c in book["cells"]:
        c["source"] = "".join(c["source"])
    by_windows(book)
    submission = folder.taken(book)
    assert submission.notes == ()
    assert determine_grade(find(submission.notebook, WHY)) == (0, 1)


def test_the_source_itself(folder, canon, course):
    """An instructor hands in the answers, to try."""
    shutil.copy(course / "build/source/tiny/tiny.ipynb", folder.path)
    submission = folder.take()
    assert submission.notes == ()
    assert "return 2 * x" in sources(submission)[DOUBLE]


def test_twice_the_same(folder, book):
    assert folder.taken(book) == folder.take()


def stock(book, course):
    """The notebook after `nbgrader autograde` has sanitised it, before it runs."""
    db = f"sqlite:///{course / 'gradebook.db'}"
    resources = {"nbgrader": {"notebook": "tiny", "assignment": "tiny", "db_url": db}}
    notebook = nbformat.reads(json.dumps(book), as_version=4)
    steps = [ClearOutput, DeduplicateIds, OverwriteKernelspec, OverwriteCells, CheckCellMetadata]
    for step in steps:
        notebook, resources = step().preprocess(notebook, resources)
    return notebook


@pytest.mark.parametrize("save", [by_jupyterlab, with_own_cells, by_old_nbgrader])
def test_nbgrader_makes_the_same_of_it(save, folder, book, course):
    """Sources, metadata and checksums: formgrader finds what it expects."""
    save(book)
    ours, theirs = folder.taken(book).notebook, stock(book, course)
    assert [(c.cell_type, c.source) for c in ours.cells] == [
        (c.cell_type, c.source) for c in theirs.cells
    ]
    assert ours.metadata.kernelspec == theirs.metadata.kernelspec
    for mine, its in zip(ours.cells, theirs.cells, strict=True):
        if name_of(mine):
            assert mine.metadata.nbgrader == {"task": False} | its.metadata.nbgrader
            assert mine.metadata.get("deletable") == its.metadata.get("deletable")
            assert mine.metadata.get("editable") == its.metadata.get("editable")


def test_nbgrader_reads_it(folder, book):
    notebook = folder.taken(book).notebook
    MetadataValidator().validate_nb(notebook)
    nbformat.validate(notebook)
    nbformat.write(notebook, io.StringIO())
    for c in filter(name_of, notebook.cells):
        about = c.metadata.nbgrader
        if about.grade_id in LOCKED:
            assert about.checksum == compute_checksum(c)
    assert sum(c.metadata.nbgrader.points for c in notebook.cells if is_grade(c)) == 5


def test_a_real_lab(tmp_path, root):
    """The attention lab, its source made anew, its release as it is committed."""
    course = tmp_path / "course"
    for folder in ("solutions/attention", "labs/attention"):
        shutil.copytree(root / folder, course / folder)
    build.write_source(course, "attention")
    canon = Canon.of(course, "attention")
    handed_in = tmp_path / "attention"
    handed_in.mkdir()
    shutil.copy(course / "labs/attention/attention.ipynb", handed_in)
    submission = take_in(handed_in, "bob", canon)
    assert submission.notes == ()
    want = [name_of(c) for c in canon.source.cells if name_of(c)]
    assert list(sources(submission)) == want
    assert len(submission.notebook.cells) == len(canon.source.cells)
    assert sum("HIDDEN TESTS" in source for source in sources(submission).values()) > 10
    assert not any("BEGIN SOLUTION" in source for source in sources(submission).values())
    assert len(cells_of(canon.release)) == len(canon.release.cells)


@pytest.mark.parametrize("missing", ["build/source/tiny/tiny.ipynb", "labs/tiny/tiny.ipynb"])
def test_a_lab_that_was_not_made(missing, course, tmp_path):
    shutil.copytree(course, tmp_path / "course")
    (tmp_path / "course" / missing).unlink()
    with pytest.raises(ValueError, match=rf"{missing} is missing; run `make labs`"):
        Canon.of(tmp_path / "course", "tiny")


def test_a_lab_whose_source_was_changed_since(course, tmp_path):
    shutil.copytree(course, tmp_path / "course")
    path = tmp_path / "course/build/source/tiny/tiny.ipynb"
    path.write_text(path.read_text().replace('"points": 2', '"points": 3'))
    with pytest.raises(ValueError, match="source and the release of tiny differ; run `make labs`"):
        Canon.of(tmp_path / "course", "tiny")
    path.write_text("{")
    with pytest.raises(ValueError, match="is no notebook; run `make labs`"):
        Canon.of(tmp_path / "course", "tiny")
