"""The store of results: whole files, under digests, whoever writes."""

import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutor_lib.grading.notes import CODES, Note
from tutor_lib.grading.run.store import Store, from_json, to_json
from tutor_lib.grading.submission import Result

KEY = "ab" + 62 * "0"
RESULT = Result(
    outputs=((), ({"output_type": "stream", "name": "stdout", "text": "seven ✓\n"},)),
    finished=frozenset({"softmax_check", "mask_check"}),
    notes=(Note("output", "It printed too much.", "softmax"),),
    seconds={"total": 1.5},
)

texts = st.text(st.characters(exclude_categories=["Cs"]))
notes = st.builds(Note, st.sampled_from(sorted(CODES)), texts, st.none() | texts)
outputs = st.lists(st.dictionaries(texts, st.integers() | texts | st.lists(texts)))


@given(st.lists(outputs), st.frozensets(texts), st.lists(notes))
def test_what_is_written_is_what_is_read(outputs, finished, notes):
    result = Result(tuple(map(tuple, outputs)), finished, tuple(notes), {"total": 0.25})
    assert from_json(to_json(result)) == result


def test_a_result_is_kept_under_its_key(tmp_path):
    store = Store(tmp_path)
    assert store.get(KEY) is None
    store.put(KEY, RESULT)
    assert store.get(KEY) == Store(tmp_path).get(KEY) == RESULT
    assert store.get("cd" + KEY[2:]) is None


@pytest.mark.parametrize(
    "broken", ["", "{", "[]", "7", "{}", '{"outputs": 3, "finished": [], "notes": []}',
               '{"outputs": [], "finished": [], "notes": [{"code": "none"}], "seconds": {}}',
               100_000 * "["]
)  # fmt: skip
def test_what_cannot_be_read_is_not_there(tmp_path, broken):
    store = Store(tmp_path)
    store.put(KEY, RESULT)
    store.path(KEY).write_text(broken)
    assert store.get(KEY) is None


def test_nothing_is_left_beside_a_result(tmp_path):
    store = Store(tmp_path)
    for _ in range(3):
        store.put(KEY, RESULT)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [store.path(KEY)]


def _write(folder):
    for _ in range(50):
        Store(folder).put(KEY, RESULT)


def test_readers_never_see_half_a_result(tmp_path):
    Store(tmp_path).put(KEY, RESULT)
    writers = [multiprocessing.Process(target=_write, args=(tmp_path,)) for _ in range(2)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        assert Store(tmp_path).get(KEY) == RESULT
    assert [writer.exitcode for writer in writers] == [0, 0]
