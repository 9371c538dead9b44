"""Folders that nobody should trust: nothing outside is read, nothing waits, nothing is too much."""

import json
import os
import random
import socket
import tracemalloc

import pytest

from tests.grading.intake.tiny import DOUBLE, codes, sources
from tutor_lib.grading.intake import folder as folders
from tutor_lib.grading.intake import normalise

pytestmark = pytest.mark.xdist_group("intake")  # the course is made once

SECRET = "the hidden tests"


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.txt"
    path.write_text(SECRET)
    return path


def link_to_a_file(folder, secret):
    (folder.path / "notes.txt").symlink_to(secret)


def link_to_a_folder(folder, secret):
    (folder.path / "data").symlink_to(secret.parent)


def link_to_nothing(folder, secret):
    (folder.path / "data").symlink_to("nowhere")


def link_to_itself(folder, secret):
    (folder.path / "data").symlink_to(".")


def fifo(folder, secret):
    os.mkfifo(folder.path / "data.csv")


def bound_socket(folder, secret):
    here = os.getcwd()
    os.chdir(folder.path)  # a socket's path may have about 100 characters
    try:
        with socket.socket(socket.AF_UNIX) as there:
            there.bind("data")
    finally:
        os.chdir(here)


def device(folder, secret):
    try:
        os.mknod(folder.path / "zero", 0o600 | 0o020000, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes devices")


def not_utf8(folder, secret):
    (folder.path / os.fsdecode(b"caf\xe9.txt")).write_text("a")


def control_characters(folder, secret):
    (folder.path / "a\x1b[2J.txt").write_text("a")


def backslash(folder, secret):
    (folder.path / "a\\..\\evil.txt").write_text("a")


def too_deep(folder, secret):
    path = folder.path.joinpath(*["a"] * 40)
    path.mkdir(parents=True)
    (path / "deep.txt").write_text("a")


SPECIAL = [link_to_a_file, link_to_a_folder, link_to_nothing, link_to_itself, fifo, bound_socket,
           device, not_utf8, control_characters, backslash, too_deep]  # fmt: skip


@pytest.mark.parametrize("make", SPECIAL, ids=lambda make: make.__name__)
def test_what_is_no_plain_file_is_passed_over(make, folder, book, secret, closed):
    make(folder, secret)
    submission = folder.taken(book)
    assert codes(submission) == {"refused-file"}
    assert submission.files == {}
    assert "x + x" in sources(submission)[DOUBLE]
    for note in submission.notes:
        assert note.told.isprintable()


def as_link(folder, secret):
    book = folder.put((secret.parent / "real.ipynb").read_text(), "../elsewhere.ipynb")
    (folder.path / "tiny.ipynb").symlink_to(book)


def as_fifo(folder, secret):
    os.mkfifo(folder.path / "tiny.ipynb")


def as_folder(folder, secret):
    (folder.path / "tiny.ipynb").mkdir()


@pytest.mark.parametrize("make", [as_link, as_fifo, as_folder], ids=lambda make: make.__name__)
def test_a_notebook_that_is_no_file(make, folder, book, secret, canon, closed):
    """The release stands in, which scores nothing."""
    (secret.parent / "real.ipynb").write_text(json.dumps(book))
    make(folder, secret)
    submission = folder.take()
    assert "no-notebook" in codes(submission)
    assert sources(submission)[DOUBLE] == canon.cells[DOUBLE].stub


def test_a_folder_that_is_a_link(folder, book, tmp_path, canon):
    folder.put(book)
    (tmp_path / "other").symlink_to(folder.path)
    submission = normalise.take_in(tmp_path / "other", "bob", canon)
    assert codes(submission) == {"refused-file"}
    assert sources(submission)[DOUBLE] == canon.cells[DOUBLE].stub


def test_a_student_s_folder_that_is_a_link(folder, book, tmp_path, canon):
    """submitted/bob leads to what ada handed in."""
    folder.put(book)
    (tmp_path / "bob").symlink_to(folder.path.parent)
    submission = normalise.take_in(tmp_path / "bob" / folder.path.name, "bob", canon)
    assert codes(submission) == {"refused-file"}
    assert sources(submission)[DOUBLE] == canon.cells[DOUBLE].stub


def test_no_folder_a_file_and_nothing_in_it(folder, tmp_path, canon):
    (tmp_path / "file").write_text("a")
    assert codes(normalise.take_in(tmp_path / "absent", "bob", canon)) == {"no-notebook"}
    assert codes(normalise.take_in(tmp_path / "file", "bob", canon)) == {"refused-file"}
    assert codes(folder.take()) == {"no-notebook"}


@pytest.mark.parametrize("name", ["tiny.ipynb", "data", ""])
def test_what_may_not_be_opened(name, folder, book, monkeypatch):
    """Said by a stand-in for the system: as root, everything may."""
    folder.put("1", "data/points.csv")
    refused, real = name or folder.path.name, os.open

    def open_but(path, *args, **more):
        if path == refused:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *args, **more)

    folder.put(book)
    monkeypatch.setattr(os, "open", open_but)
    submission = folder.take()
    assert codes(submission) == {"refused-file"}
    assert submission.files == ({"data/points.csv": b"1"} if name == "tiny.ipynb" else {})


def test_a_file_that_becomes_a_link_at_the_last_moment(folder, book, secret, monkeypatch):
    """Between looking and opening, the student's file is swapped."""
    folder.put("a", "data.txt")

    def looked_at_then_swapped(here, name):
        if name == "data.txt":
            os.unlink(name, dir_fd=here)
            os.symlink(secret, name, dir_fd=here)
        return True

    monkeypatch.setattr(folders, "is_regular", looked_at_then_swapped)
    submission = folder.taken(book)
    assert codes(submission) >= {"refused-file"}
    assert submission.files == {}


def test_a_file_that_becomes_a_fifo_at_the_last_moment(folder, book, monkeypatch):
    folder.put("a", "data.txt")

    def looked_at_then_swapped(here, name):
        if name == "data.txt":
            os.unlink(name, dir_fd=here)
            os.mkfifo(name, dir_fd=here)
        return True

    monkeypatch.setattr(folders, "is_regular", looked_at_then_swapped)
    assert folder.taken(book).files == {}


def test_a_notebook_of_200_mb_is_not_read(folder, canon):
    """Sparse, so that it costs the test nothing; reading it would."""
    with open(folder.put(""), "wb") as file:
        file.truncate(200 << 20)
    tracemalloc.start()
    try:
        submission = folder.take()
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert codes(submission) == {"too-large"}
    assert sources(submission)[DOUBLE] == canon.cells[DOUBLE].stub


def test_files_that_are_too_large_together(folder, book, monkeypatch):
    monkeypatch.setattr(normalise, "FILES_BYTES", 10)
    for name, size in [("a", 6), ("b", 5), ("c", 4), ("d", 1)]:
        folder.put("x" * size, name)
    submission = folder.taken(book)
    assert submission.files == {"a": b"xxxxxx", "c": b"xxxx"}
    assert [note.code for note in submission.notes] == ["too-large"]
    assert submission.notes[0].told.endswith("b, d.")


def test_too_many_files(folder, book, monkeypatch):
    names = [f"{n:03}.txt" for n in range(normalise.FILES + 5)]
    random.Random(0).shuffle(names)
    for name in names:
        folder.put("", name)
    submission = folder.taken(book)
    assert list(submission.files) == sorted(names)[: normalise.FILES]
    assert codes(submission) == {"too-large"}


def test_a_crowded_folder(folder, book):
    """Someone's virtual environment: the notebook still counts."""
    for n in range(folders.ENTRIES + 1):
        folder.put("", f"venv/{n}")
    submission = folder.taken(book)
    assert codes(submission) == {"too-large"}
    assert submission.files == {}
    assert "x + x" in sources(submission)[DOUBLE]


@pytest.mark.parametrize("name", ["Tiny (1).ipynb", "TINY.IPYNB", "tiny/tiny.ipynb"])
def test_another_name(name, folder, book):
    folder.put(book, name)
    submission = folder.take()
    assert codes(submission) == {"renamed"}
    assert "x + x" in sources(submission)[DOUBLE]
    assert submission.files == {}


def test_two_notebooks(folder, book):
    folder.put({"cells": []}, "a.ipynb")
    submission = folder.taken(book)
    assert codes(submission) == {"several"}
    assert "x + x" in sources(submission)[DOUBLE]


def test_two_notebooks_and_none_of_the_labs_name(folder, book, canon):
    folder.put(book, "a.ipynb")
    folder.put(book, "b.ipynb")
    submission = folder.take()
    assert codes(submission) == {"several", "no-notebook"}
    assert sources(submission)[DOUBLE] == canon.cells[DOUBLE].stub


def test_a_hard_link_is_a_file(folder, book, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("1,2")
    os.link(other, folder.path / "data.csv")
    assert folder.taken(book).files == {"data.csv": b"1,2"}
