import os
import signal

import jupytext
import nbformat
import pytest

from tests.grading.intake.tiny import SOURCE, Folder, answered
from tutor_lib.grading import build
from tutor_lib.grading.intake import Canon


@pytest.fixture(scope="session")
def course(tmp_path_factory, root):
    """A course with the lab `tiny`, released by nbgrader."""
    folder = tmp_path_factory.mktemp("course")
    frame = {"metadata": build.METADATA, "nbformat": 4, "nbformat_minor": 4}
    text = jupytext.writes(nbformat.from_dict({"cells": SOURCE, **frame}), fmt="md:myst")
    path = folder / "solutions" / "tiny" / "tiny.md"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    (folder / "nbgrader_config.py").write_bytes((root / "nbgrader_config.py").read_bytes())
    build.release(folder, "tiny")
    return folder


@pytest.fixture(scope="session")
def canon(course):
    return Canon.of(course, "tiny")


@pytest.fixture
def folder(tmp_path, canon):
    return Folder(tmp_path, canon)


@pytest.fixture
def book(canon):
    """The notebook of an honest student."""
    return answered(canon.release)


@pytest.fixture(autouse=True)
def soon():
    """A test that waits fails: opening a FIFO without a writer would wait for ever."""
    before = signal.signal(signal.SIGALRM, lambda *_: pytest.fail("it waits"))
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def closed():
    """Fails if the test leaves a file open."""
    before = set(os.listdir("/dev/fd"))
    yield
    assert len(set(os.listdir("/dev/fd"))) <= len(before)
