"""Notebooks that were changed where they may not be: the lab's frame comes back."""

import copy
import json
import random

import nbformat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.grading.intake.tiny import (
    ANSWERS,
    DOUBLE,
    DOUBLE_CHECK,
    ESSAY,
    IDS,
    LOCKED,
    SETUP,
    TRIPLE,
    TRIPLE_CHECK,
    WHY,
    about,
    cell,
    find,
    name_of,
    noted,
    place,
    sources,
    texts,
)
from tutor_lib.grading.intake import Canon
from tutor_lib.grading.intake.reading import Given
from tutor_lib.grading.intake.restoring import restore

pytestmark = pytest.mark.xdist_group("intake")  # the course is made once

RESTORED, METADATA = "cells-restored", "metadata-restored"


def order(submission):
    """The lab's cells by name, the others by their text."""
    return [name_of(c) or c.source for c in submission.notebook.cells]


def change(grade_id, **what):
    def changed(book):
        find(book, grade_id).update(what)

    return changed


def flag(grade_id, **what):
    def flagged(book):
        find(book, grade_id)["metadata"]["nbgrader"].update(what)

    return flagged


def tag(*grade_ids):
    def tagged(book):
        for grade_id in grade_ids:
            find(book, grade_id)["metadata"]["tags"] = ["skip-execution"]

    return tagged


def delete(*grade_ids):
    def deleted(book):
        book["cells"] = [c for c in book["cells"] if name_of(c) not in grade_ids]

    return deleted


def duplicate(grade_id, **what):
    def duplicated(book):
        book["cells"].append(copy.deepcopy(find(book, grade_id)) | what)

    return duplicated


def swap(book):
    one, other = place(book, DOUBLE_CHECK), place(book, TRIPLE_CHECK)
    cells = book["cells"]
    cells[one], cells[other] = cells[other], cells[one]


def swap_marks(book):
    """The test's mark on the answer, and the answer's on the test."""
    one, other = find(book, DOUBLE), find(book, DOUBLE_CHECK)
    one["metadata"], other["metadata"] = other["metadata"], one["metadata"]


def strip(book):
    for c in book["cells"]:
        c["metadata"] = {}


def strip_ids_too(book):
    strip(book)
    for n, c in enumerate(book["cells"]):
        c["id"] = f"a{n}"


# What was done, what is noted, and which answers are not the student's any more.
CHANGES = {
    "test edited": (change(DOUBLE_CHECK, source="assert True"), {(RESTORED, DOUBLE_CHECK)}, []),
    "set-up edited": (change(SETUP, source="math = 0"), {(RESTORED, SETUP)}, []),
    "essay edited": (change(ESSAY, source="Done."), {(RESTORED, ESSAY)}, []),
    "test retyped": (change(DOUBLE_CHECK, cell_type="markdown"), {(RESTORED, DOUBLE_CHECK)}, []),
    "answer retyped": (change(DOUBLE, cell_type="raw"), {(RESTORED, DOUBLE)}, []),
    "text retyped": (change(WHY, cell_type="code"), {(RESTORED, WHY)}, []),
    "points": (flag(DOUBLE_CHECK, points=100), {(METADATA, DOUBLE_CHECK)}, []),
    "points of NaN": (flag(DOUBLE_CHECK, points=float("nan")), {(METADATA, DOUBLE_CHECK)}, []),
    "points of a list": (flag(DOUBLE_CHECK, points=[[2]]), {(METADATA, DOUBLE_CHECK)}, []),
    "test made a solution": (flag(DOUBLE_CHECK, solution=True), {(METADATA, DOUBLE_CHECK)}, []),
    "test not graded": (flag(DOUBLE_CHECK, grade=False), {(METADATA, DOUBLE_CHECK)}, []),
    "answer made a test": (flag(DOUBLE, grade=True, points=9), {(METADATA, DOUBLE)}, []),
    "answer locked": (flag(DOUBLE, locked=True), {(METADATA, DOUBLE)}, []),
    "schema": (flag(DOUBLE_CHECK, schema_version=99, checksum=0, cell_type=[]), set(), []),
    "tags": (tag(DOUBLE, DOUBLE_CHECK), {(METADATA, DOUBLE), (METADATA, DOUBLE_CHECK)}, []),
    "test deleted": (delete(DOUBLE_CHECK), {(RESTORED, DOUBLE_CHECK)}, []),
    "answer deleted": (delete(DOUBLE), {(RESTORED, DOUBLE)}, [DOUBLE]),
    "all deleted": (delete(*IDS), {(RESTORED, name) for name in IDS}, [DOUBLE, TRIPLE, WHY]),
    "test duplicated": (duplicate(DOUBLE_CHECK), {(RESTORED, DOUBLE_CHECK)}, []),
    "test duplicated and edited": (
        duplicate(DOUBLE_CHECK, source="assert 1"), {(RESTORED, DOUBLE_CHECK)}, []),
    "answer duplicated": (duplicate(DOUBLE), {(RESTORED, DOUBLE)}, []),
    "swapped": (swap, {(RESTORED, None)}, []),
    "stripped": (strip, {(METADATA, name) for name in IDS}, []),
}  # fmt: skip


@pytest.mark.parametrize(("do", "notes", "lost"), CHANGES.values(), ids=CHANGES)
def test_the_frame_comes_back(do, notes, lost, folder, book, canon):
    do(book)
    submission = folder.taken(book)
    got = sources(submission)
    assert list(got) == list(IDS)
    for name in LOCKED:
        assert got[name] == find(canon.source, name).source
    for name, answer in ANSWERS.items():
        assert got[name] == (find(canon.release, name).source if name in lost else answer)
    for c in submission.notebook.cells:
        assert not name_of(c) or c.cell_type == find(canon.source, name_of(c)).cell_type
        assert "tags" not in c.metadata
    assert noted(submission) == notes
    nbformat.validate(submission.notebook)


def test_swapped_marks(folder, book, canon):
    swap_marks(book)
    got = sources(folder.taken(book))
    assert got[DOUBLE_CHECK] == find(canon.source, DOUBLE_CHECK).source
    assert got[DOUBLE] == find(canon.release, DOUBLE_CHECK).source


def test_of_two_answers_the_first_counts_and_the_other_runs_where_it_is(folder, book):
    """A copy keeps its metadata in JupyterLab, and so do both halves of a cell that is split."""
    half = copy.deepcopy(find(book, DOUBLE)) | {"source": "double_again = double"}
    book["cells"].insert(place(book, DOUBLE) + 1, half)
    submission = folder.taken(book)
    assert order(submission)[:4] == ["# Tiny", SETUP, DOUBLE, "double_again = double"]
    assert noted(submission) == {(RESTORED, DOUBLE)}


def test_a_stub_does_not_undo_the_answer(folder, book, canon):
    """Before it or behind it: a copy that nobody wrote in is left out."""
    stub = copy.deepcopy(find(book, DOUBLE)) | {"source": find(canon.release, DOUBLE).source}
    book["cells"].insert(0, stub)
    book["cells"].append(stub)
    submission = folder.taken(book)
    assert sources(submission)[DOUBLE] == ANSWERS[DOUBLE]
    assert texts(submission) == ["double(4)"]


def test_a_definition_in_another_cell_of_an_answer_that_was_deleted(folder, book):
    """The stub that is put back must not come after it."""
    find(book, DOUBLE).update(metadata={}, id="x")
    names = order(folder.taken(book))
    assert names[1:5] == [SETUP, DOUBLE, ANSWERS[DOUBLE], DOUBLE_CHECK]


def test_a_definition_in_another_cell_of_a_test_that_was_deleted(folder, book):
    """The test that is put back must not come before it."""
    book["cells"].insert(place(book, DOUBLE) + 1, cell("code", "double = abs"))
    delete(DOUBLE_CHECK)(book)
    names = order(folder.taken(book))
    assert names[2:6] == [DOUBLE, "double = abs", "double(4)", DOUBLE_CHECK]


def test_all_marks_and_ids_lost(folder, book):
    """Tests are told by their text; the answers come after their stubs and before their tests."""
    strip_ids_too(book)
    submission = folder.taken(book)
    names = order(submission)
    for name in (DOUBLE, TRIPLE):
        at = names.index(ANSWERS[name])
        assert names.index(name) < at < names.index(f"{name}_check")
    assert (METADATA, DOUBLE_CHECK) in noted(submission)
    assert (RESTORED, DOUBLE) in noted(submission)


def test_own_cells_stay_behind_the_cell_they_followed(folder, book):
    book["cells"].insert(0, cell("code", "first = 1"))
    book["cells"].insert(place(book, DOUBLE_CHECK) + 1, cell("code", "after = 1"))
    book["cells"].append(cell("code", "last = 1"))
    swap(book)
    assert order(folder.taken(book)) == [
        "first = 1", "# Tiny", SETUP, DOUBLE, DOUBLE_CHECK, TRIPLE, TRIPLE_CHECK,
        "after = 1", "double(4)", WHY, ESSAY, "last = 1",
    ]  # fmt: skip


def test_own_cells_have_no_metadata_and_their_own_ids(folder, book):
    book["cells"].insert(0, cell("code", "a", {"tags": ["x"], "deletable": False}, id=DOUBLE))
    book["cells"].insert(0, cell("code", "b", {}, id="double"))
    submission = folder.taken(book)
    ids = [c.id for c in submission.notebook.cells]
    assert len(set(ids)) == len(ids)
    for c in submission.notebook.cells:
        assert name_of(c) == c.id if name_of(c) else c.metadata == {}
    assert submission.notes == ()


def test_a_lab_that_names_a_cell_as_own_cells_are_named():
    lab = cell("code", "import math", about("own-1", locked=True), id="own-1")
    frame = {"metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    notebook = nbformat.from_dict({"cells": [lab], **frame})
    handed_in = [Given("code", "a"), Given("code", "import math", "own-1"), Given("code", "b")]
    restored, _ = restore(Canon("lab", notebook, notebook), handed_in)
    assert [c.id for c in restored.cells] == ["own-2", "own-1", "own-3"]
    nbformat.validate(restored)


def test_an_own_cell_that_says_it_is_graded(folder, book):
    book["cells"].append(cell("code", "100", about("bonus", grade=True, locked=True, points=100)))
    submission = folder.taken(book)
    assert noted(submission) == {(METADATA, None)}
    assert list(sources(submission)) == list(IDS)


def test_an_own_cell_that_is_not_to_run(folder, book):
    book["cells"].append(cell("code", "f()", {"tags": ["skip-execution"]}))
    assert noted(folder.taken(book)) == {(METADATA, None)}


def test_an_own_cell_with_the_text_of_a_lab_cell_stays(folder, book):
    book["cells"].append(cell("code", "import math"))
    submission = folder.taken(book)
    assert order(submission)[-1] == "import math"
    assert submission.notes == ()


def test_outputs_attachments_and_the_kernel_are_the_labs(folder, book, canon):
    book["metadata"] = {"kernelspec": {"name": "evil", "display_name": "x"}, "widgets": {}}
    for c in book["cells"]:
        c["attachments"] = {"a.svg": {"image/svg+xml": "<svg onload=x>"}}
        c["outputs"] = [{"output_type": "execute_result", "data": {"text/plain": "2"}}]
    submission = folder.taken(book)
    assert submission.notebook.metadata == canon.source.metadata
    for c in submission.notebook.cells:
        assert "attachments" not in c
        assert c.get("outputs", []) == []


def test_the_canon_stays_as_it_is(folder, book, canon):
    """What one submission's notebook becomes does not reach the next."""
    before = copy.deepcopy((canon.source, canon.release, dict(canon.cells)))
    for c in folder.taken(book).notebook.cells:
        c.metadata["x"] = 1
        c.metadata.setdefault("nbgrader", {})["points"] = 99
    assert (canon.source, canon.release, dict(canon.cells)) == before


JUNK = st.sampled_from(
    [None, True, 0, -1, 10**30, 1.5, float("nan"), float("inf"), "", "x", "\ud800", "a\x00",
     [], [[]], [None], {}, {"a": {}}, "code", "markdown", "raw", *IDS]
)  # fmt: skip


def replaced(book, chance):
    """Junk in the place of any one value, at any depth."""
    holder, key = {"book": book}, "book"
    while True:
        inner = holder[key]
        keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys or chance.random() < 0.1:
            break
        holder, key = inner, chance.choice(keys)
        if not isinstance(holder[key], dict | list):
            break
    return holder, key


@st.composite
def mutated(draw):
    """A recipe: what is done to a notebook, one thing after another."""
    steps = ("junk", "delete", "duplicate", "swap", "mark", "retype", "unmark")
    return draw(st.lists(st.tuples(st.sampled_from(steps), st.integers(0, 99), st.integers(0, 99),
                                   JUNK), max_size=12))  # fmt: skip


def mutate(book, recipe):
    for step, one, other, junk in recipe:
        cells = book.get("cells") if isinstance(book, dict) else None
        if not isinstance(cells, list) or not cells:
            return book
        i, j = one % len(cells), other % len(cells)
        if step == "delete":
            del cells[i]
        elif step == "duplicate":
            cells.insert(j, copy.deepcopy(cells[i]))
        elif step == "swap":
            cells[i], cells[j] = cells[j], cells[i]
        elif step == "junk":
            holder, key = replaced(book, random.Random(one * 100 + other))
            if isinstance(holder, dict) and key == "book":
                return junk
            holder[key] = junk
        elif isinstance(cells[i], dict):
            marks = {"nbgrader": {"grade_id": junk, "grade": True, "locked": bool(one % 2)}}
            what = {"mark": {"metadata": marks}, "retype": {"cell_type": junk},
                    "unmark": {"metadata": {}}}[step]  # fmt: skip
            cells[i].update(copy.deepcopy(what))
    return book


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(recipe=mutated())
def test_whatever_is_done_to_a_notebook(recipe, folder, book, canon):
    """The lab's cells once each, in order, locked texts and metadata the lab's; valid; no error."""
    folder.put(json.dumps(mutate(copy.deepcopy(book), recipe)))
    submission = folder.take()
    notebook = submission.notebook
    nbformat.validate(notebook)
    nbformat.writes(notebook).encode()
    assert list(sources(submission)) == [name_of(c) for c in canon.source.cells if name_of(c)]
    for c in notebook.cells:
        if not (name := name_of(c)):
            assert c.metadata == {}
            continue
        lab = find(canon.source, name)
        flags = {k: v for k, v in c.metadata.nbgrader.items() if k in lab.metadata.nbgrader}
        assert (c.cell_type, flags) == (lab.cell_type, lab.metadata.nbgrader)
        assert name not in LOCKED or c.source == lab.source
    assert folder.take() == submission
