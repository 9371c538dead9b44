"""Files that are hardly notebooks: what can be mended is, what cannot is told."""

import json

import nbformat
import pytest

from tests.grading.intake.tiny import DOUBLE, cell, codes, sources, texts
from tutor_lib.grading.intake import reading
from tutor_lib.grading.intake.reading import Given, Unreadable, read_cells

pytestmark = pytest.mark.xdist_group("intake")  # the course is made once


def deep(n):
    return b'{"cells": ' + b"[" * n + b"]" * n + b"}"


UNREADABLE = {
    "empty": (b"", "the file is empty"),
    "blank": (b" \n\t", "the file is empty"),
    "a byte order mark alone": (b"\xef\xbb\xbf", "its JSON is broken"),
    "truncated": (b'{"cells": [\n{"cell_type": "code", "sour', r"its JSON is broken \(line 2\)"),
    "a word": (b"hello", "its JSON is broken"),
    "Latin-1": ('{"cells": [], "é": 1}'.encode("latin-1"), "it is not UTF-8 text"),
    "UTF-16": ('{"cells": []}'.encode("utf-16"), "it is not UTF-8 text"),
    "zeros": (b"\0" * 1000, "its JSON is broken"),
    "a list": (b"[]", "no notebook"),
    "a number": (b"1", "no notebook"),
    "null": (b"null", "no notebook"),
    "no cells": (b'{"nbformat": 4}', "no list of cells"),
    "cells of a wrong type": (b'{"nbformat": 4, "cells": "abc"}', "no list of cells"),
    "an object for cells": (b'{"nbformat": 4, "cells": {"0": 1}}', "no list of cells"),
    "no worksheets": (b'{"nbformat": 3}', "no list of cells"),
    "format 2": (b'{"nbformat": 2, "cells": []}', "its format is 2, and 3 and 4 are read"),
    "format 5": (b'{"nbformat": 5, "cells": []}', "its format is 5, and 3 and 4 are read"),
    "nested deeply": (deep(100_000), "nested too deeply"),
    "millions of lists": (b'{"cells": [' + b"[]," * 2_000_000 + b"1]}", "too many lists"),
    "thousands of cells": (json.dumps({"cells": [{}] * 6_000}).encode(), "6,000 cells, and 5,000"),
}


@pytest.mark.parametrize(("data", "why"), UNREADABLE.values(), ids=UNREADABLE)
def test_what_cannot_be_read_is_told(data, why, folder, canon):
    with pytest.raises(Unreadable, match=why):
        read_cells(data)
    folder.put(data)
    submission = folder.take()
    assert codes(submission) == {"unreadable"}
    assert sources(submission) == {name: c.source for name, c in canon.cells.items()}


CODE = {"cell_type": "code", "metadata": {}, "source": "x = 1"}


@pytest.mark.parametrize(
    ("raw", "want"),
    [
        (CODE, Given("code", "x = 1")),
        (CODE | {"source": ["x = 1\n", "y"]}, Given("code", "x = 1\ny")),
        (CODE | {"source": ["x", None, 3, ["y"], "z"]}, Given("code", "xz")),
        (CODE | {"source": None}, Given("code", "")),
        (CODE | {"source": {"a": 1}}, Given("code", "")),
        ({"cell_type": "code"}, Given("code", "")),
        ({}, Given("raw", "")),
        (CODE | {"cell_type": ["code"]}, Given("raw", "x = 1")),
        (CODE | {"cell_type": "Code"}, Given("raw", "x = 1")),
        (CODE | {"id": 7}, Given("code", "x = 1")),
        (CODE | {"id": "a"}, Given("code", "x = 1", "a")),
        (CODE | {"metadata": []}, Given("code", "x = 1")),
        (CODE | {"metadata": {"nbgrader": "a"}}, Given("code", "x = 1")),
        (CODE | {"metadata": {"tags": "ab"}}, Given("code", "x = 1")),
        (CODE | {"metadata": {"tags": ["a", 1]}}, Given("code", "x = 1", tags=frozenset("a"))),
        (CODE | {"outputs": 1, "attachments": 2}, Given("code", "x = 1")),
        (CODE | {"source": "a\x00b\ud800c\U0001f600"}, Given("code", "a�b�c\U0001f600")),
    ],
)
def test_a_cell_is_mended(raw, want):
    got = read_cells(json.dumps({"nbformat": 4, "cells": [raw, None, [], "a", 3]}).encode())
    assert got == [want]


@pytest.mark.parametrize("about", [{"grade_id": ["double"]}, {"grade_id": None}, {}])
def test_a_grade_id_that_is_no_name(about):
    assert Given("code", "", about=about).grade_id == ""


@pytest.mark.parametrize("told", ["4", 4.0, None, True, [], {}, float("nan")])
def test_a_format_that_is_not_told_well(told):
    data = json.dumps({"nbformat": told, "cells": [CODE]}).encode()
    assert read_cells(data) == [Given("code", "x = 1")]


def test_of_two_equal_keys_the_last_counts_as_in_jupyterlab():
    data = b'{"nbformat": 4, "cells": [], "cells": [{"cell_type": "raw"}]}'
    assert read_cells(data) == [Given("raw", "")]


def test_a_number_of_a_million_digits():
    data = b'{"cells": [{"cell_type": "code", "execution_count": ' + b"9" * 1_000_000 + b"}]}"
    assert read_cells(data) == [Given("code", "")]


def test_numbers_that_json_does_not_have():
    data = b'{"cells": [{"cell_type": "code", "a": [NaN, -Infinity, 1e999]}]}'
    assert read_cells(data) == [Given("code", "")]


@pytest.mark.filterwarnings("ignore")
def test_format_3_as_nbformat_upgrades_it(folder):
    cells = [cell("markdown", "## A head"), cell("markdown", "Text"), cell("code", "x = 1"),
             cell("raw", "r")]  # fmt: skip
    frame = {"metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    old = nbformat.convert(nbformat.from_dict({"cells": cells, **frame}), 3)
    old.worksheets[0].cells.append(nbformat.from_dict(
        {"cell_type": "heading", "level": 3, "source": "Two\nlines", "metadata": {}}))  # fmt: skip
    data = json.dumps(old)
    want = nbformat.convert(nbformat.reads(data, nbformat.NO_CONVERT), 4).cells
    got = read_cells(data.encode())
    assert [(c.kind, c.source) for c in got] == [(c.cell_type, c.source) for c in want]
    assert [c.source for c in got] == ["## A head", "Text", "x = 1", "r", "### Two lines"]


@pytest.mark.filterwarnings("ignore")
def test_an_answer_in_format_3(folder, book):
    old = nbformat.convert(nbformat.from_dict(book), 3)
    submission = folder.taken(json.loads(json.dumps(old)))
    assert submission.notes == ()
    assert "x + x" in sources(submission)[DOUBLE]


@pytest.mark.parametrize(
    "sheets",
    [[], [3], [{}], [{"cells": 3}], [{"cells": [3, {"cell_type": "heading", "level": "x"}]}]],
)
def test_format_3_that_is_not_whole(sheets, folder, canon):
    submission = folder.taken({"nbformat": 3, "worksheets": sheets})
    assert list(sources(submission)) == list(canon.cells)
    assert texts(submission) == []


def test_the_largest_notebook_takes_seconds_at_most(folder, monkeypatch):
    """Twenty megabytes of one answer, with many copies of it."""
    monkeypatch.setattr(reading, "CELLS", 3_000)
    line = "x = 1\n" * 1_000
    folder.taken({"cells": [cell("code", line, {"nbgrader": {"grade_id": DOUBLE}})] * 2_500})
