"""Outputs: text and pictures of bounded size, whatever a notebook printed."""

import base64
import io
import struct
import zlib

import nbformat
import nbformat.v4 as v4
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tutor_lib.grading.gradebook import outputs as module
from tutor_lib.grading.gradebook.outputs import clean, cut, picture, plain, reduced

ESC = "\x1b"


def png(width=2, height=3):
    """A picture, made by another library."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def shown(**data):
    return {"output_type": "display_data", "data": data, "metadata": {"x": 1}}


def stream(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def error(value="no", traceback=("frame", "no")):
    return {"output_type": "error", "ename": "E", "evalue": value, "traceback": list(traceback)}


LIVE = ["text/html", "image/svg+xml", "application/javascript", "text/latex", "text/markdown",
        "application/vnd.jupyter.widget-view+json", "application/pdf", "image/jpeg"]  # fmt: skip


@pytest.mark.parametrize("kind", LIVE)
def test_what_a_browser_might_run_is_left_out(kind):
    bad = "<script>alert(1)</script>"
    assert reduced([shown(**{kind: bad})]) == []
    [kept] = reduced([shown(**{kind: bad, "text/plain": "fine"})])
    assert kept == {"output_type": "display_data", "data": {"text/plain": "fine"}, "metadata": {}}


def test_pictures_stay():
    [kept] = reduced(
        [shown(**{"image/png": png()[:20] + "\n" + png()[20:], "text/plain": "<Fig>"})]
    )
    assert kept.data == {"image/png": png(), "text/plain": "<Fig>"}


def huge_png():
    """A file of a few hundred bytes that says it is 100,000 pixels wide and high."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    parts = [
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", head),
        chunk(b"IDAT", zlib.compress(b"")),
        chunk(b"IEND", b""),
    ]
    return base64.b64encode(b"".join(parts)).decode()  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [None, 7, "", "abc", "!!!", png()[:-3], base64.b64encode(b"<svg onload=alert(1)>" * 9).decode(),
     'x" onerror="alert(1)', huge_png(), base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()],
)  # fmt: skip
def test_what_is_no_picture_is_left_out(data):
    assert picture(data) is None


def test_pictures_of_a_cell_have_a_limit(monkeypatch):
    monkeypatch.setattr(module, "PICTURES", 2 * len(png()) + 4)
    assert len(reduced([shown(**{"image/png": png()})] * 5)) == 2


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (f"{ESC}[31mred{ESC}[0m", "red"),
        (f"{ESC}[2J{ESC}[10;10Hgone", "gone"),
        (f"{ESC}]8;;http://x{ESC}\\link{ESC}]8;;\x07", "link"),
        (f"{ESC}]0;title", ""),
        (f"{ESC}]0;title\nnext", "\nnext"),
        ("10 %\r50 %\r100 %\n", "100 %\n"),
        ("a\r\nb\r", "a\nb"),
        ("a\x00\x08\x7f\x9bb\tc", "ab\tc"),
        (f"{ESC}{ESC}[31{ESC}", ""),
        ("half \ud800", "half ?"),
        ("日本 ✓", "日本 ✓"),
    ],
)
def test_text_is_what_a_reader_sees(text, seen):
    assert plain(text) == seen


def test_colours_stay():
    text = f"{ESC}[1;31mred{ESC}[0m and {ESC}[Kplain"
    assert clean(text) == f"{ESC}[1;31mred{ESC}[0m and plain"


def test_pieces_of_a_stream_are_one_output():
    pieces = [stream("a"), stream(["b", "c"]), stream("d", "stderr"), stream("e", "<img>")]
    kept = [(o.name, o.text) for o in reduced(pieces)]
    assert kept == [("stdout", "abc"), ("stderr", "d"), ("stdout", "e")]


def test_a_flood_is_cut_in_the_middle():
    [kept] = reduced([stream("first\n" + "x\n" * 1_000_000 + "last")])
    assert len(kept.text) <= module.TEXT
    assert kept.text.startswith("first")
    assert kept.text.endswith("last")
    assert "characters and more are left out" in kept.text


def test_an_error_stays_after_any_flood():
    flood = [stream("x" * 10**6), *[shown(**{"text/plain": "y" * 99})] * 2_000]
    kept = reduced([*flood, error("z" * 10**6, ["Cell In[3], line 2", "z" * 10**6])])
    assert len(kept) <= module.OUTPUTS + 1
    assert kept[-1].output_type == "error"
    assert kept[-1].traceback[0] == "Cell In[3], line 2"
    assert sum(len(str(o)) for o in kept) < 5 * module.TEXT


def test_unknown_outputs_are_left_out():
    assert reduced([{"output_type": "update_display_data"}, {}, {"output_type": None}]) == []


def test_cut_says_how_much():
    assert cut("abc", 3) == "abc"
    assert cut("a" * 1000, 10) == ""
    assert len(cut("a" * 1000, 300)) <= 300


leaves = st.none() | st.booleans() | st.integers() | st.text(st.characters())
anything = st.recursive(
    leaves, lambda inner:
    st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
KEYS = ["text", "name", "ename", "evalue", "traceback", "data", "metadata"]
bundles = st.dictionaries(st.sampled_from(["text/plain", "image/png", "text/html"]), anything)
odd = st.fixed_dictionaries(
    {"output_type": st.sampled_from(["stream", "error", "display_data", "execute_result", "odd"])},
    optional={key: anything | bundles for key in KEYS},
)


@settings(max_examples=100, deadline=None)
@given(st.lists(odd, max_size=6))
def test_whatever_comes_is_reduced_to_valid_outputs_once(outputs):
    once = reduced(outputs)
    cell = v4.new_code_cell(outputs=once)

    nbformat.validate(v4.new_notebook(cells=[cell]))
    assert reduced(once) == once
    str(once).encode()
