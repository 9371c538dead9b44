"""Attention on shuffled tokens: in JavaScript as in PyTorch, and as a reader moves them."""

import re

import pytest
import torch

from tutor_lib.attention.core import causal_mask
from tutor_lib.demos import Shuffle
from tutor_lib.demos.shuffle import CAUSAL, NO_ORDER, ROPE, attention_rows
from tutor_lib.demos.weights import storyteller

SOURCES = [NO_ORDER, ROPE, CAUSAL]


@torch.no_grad()
def expected_rows(ids, source):
    """The layer itself, its rotation taken out where there is none."""
    block = storyteller()[0].blocks[0]
    x = block.attention_norm(storyteller()[0].embedding(torch.tensor([ids])))
    rotary = block.attention.rotary
    try:
        block.attention.rotary = rotary if source == ROPE else None
        return block.attention(x, causal_mask(len(ids)) if source == CAUSAL else None)[0][0]
    finally:
        block.attention.rotary = rotary


def rows(teller, ids, source):
    found = teller.evaluate(
        "([ids, source]) => plain(code.attentionRows(teller, ids, source))", [ids, source]
    )
    return torch.tensor(found)


@pytest.mark.parametrize("source", SOURCES)
def test_attention_rows(teller, source):
    ids = torch.randint(640, (7,)).tolist()
    expected = expected_rows(ids, source)
    torch.testing.assert_close(rows(teller, ids, source), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(attention_rows(ids, source), expected, atol=1e-5, rtol=1e-5)


def test_only_without_order_rows_move_along(teller):
    ids, order = torch.randint(640, (7,)), torch.tensor([4, 0, 6, 2, 5, 1, 3])
    for source in SOURCES:
        before = rows(teller, ids.tolist(), source)[order]
        after = rows(teller, ids[order].tolist(), source)
        assert ((before - after).abs().max() < 1e-5) == (source == NO_ORDER)


def test_largest_difference(code):
    a, b = torch.randn(2, 13)
    found = code("largestDifference", a.tolist(), b.tolist())
    assert found == pytest.approx((a - b).abs().max().item(), abs=1e-5)


def test_moved_to(code):
    assert code("movedTo", [5, 6, 7, 8], 0, 2) == [6, 7, 5, 8]
    assert code("movedTo", [5, 6, 7, 8], 3, 0) == [8, 5, 6, 7]
    assert code("movedTo", [5, 6], 1, 1) == [5, 6]


def test_tiny(code):
    assert code("tiny", 0) == "0"
    assert code("tiny", 0.12345) == "0.123"
    assert code("tiny", 2.4e-7) == "2 × 10^−7"


def said(page):
    return page.get_by_role("status").inner_text()


def test_moving_a_token(visit):
    """By its button, by the arrow keys, by the pointer; the focus goes along."""
    with visit(name="blank") as page:
        page.mount("Shuffle")
        page.get_by_role("button", name="Move ␣dog left").click()
        assert page.trait("order") == [0, 1, 2, 4, 3, 5]
        assert "0 of 6 output rows changed" in said(page)
        page.keyboard.press("ArrowLeft")
        assert page.trait("order") == [0, 1, 4, 2, 3, 5]
        page.keyboard.press("Enter")
        assert page.trait("order") == [0, 4, 1, 2, 3, 5]
        first, last = (page.locator(".card").nth(i).bounding_box() for i in (0, 5))
        page.mouse.move(first["x"] + 30, first["y"] + 12)
        page.mouse.down()
        page.mouse.move(last["x"] + 30, last["y"] + 12)
        page.mouse.up()
        page.mouse.move(first["x"] + 30, first["y"] + 12)
        assert page.trait("order") == [4, 1, 2, 3, 5, 0]
        page.get_by_role("button", name="As written").click()
        assert page.trait("order") == [0, 1, 2, 3, 4, 5]
        assert "as written" in said(page)


@pytest.mark.parametrize(("source", "changed"), [("RoPE", 6), ("a causal mask", 6)])
def test_what_tells_the_order_changes_the_rows(visit, source, changed):
    with visit(name="blank") as page:
        page.mount("Shuffle", bet=0)
        page.get_by_role("button", name="Reverse").click()
        assert "You said: none. 0 of 6" in said(page)
        page.get_by_role("radio", name=source).click()
        assert f"{changed} of 6 output rows changed" in said(page)
        ids = storyteller()[1].encode("The cat saw the dog.")
        number = ROPE if source == "RoPE" else CAUSAL
        backwards = expected_rows(ids[::-1], number).flip(0)
        largest = (expected_rows(ids, number) - backwards).abs().max()
        assert f"a number is {largest:.3f}." in said(page)


def test_equal_tokens_are_alike_even_with_rope(visit):
    """All values are the same: whatever the weights, their mean is."""
    with visit(name="blank") as page:
        page.mount("Shuffle", text="red red red red", order=[3, 1, 0, 2], source=ROPE)
        assert "0 of 4 output rows changed" not in said(page)  # "red" alone has no space before it
        page.get_by_role("textbox").fill(" red red red red")
        page.get_by_role("button", name="Reverse").click()
        assert "0 of 4 output rows changed" in said(page)
        page.get_by_role("textbox").fill("")
        assert "Type a text" in said(page)


def test_the_picture_shows_the_same_rows_twice():
    shown = re.findall(r"(\d+)%,var\(--td-paper", Shuffle(text="a cat sat").picture())
    columns = [shown[:96], shown[96:]]
    halves = [[side[32 * t : 32 * (t + 1)] for t in range(3)] for side in columns]
    assert halves[0] == halves[1][::-1]
    assert "Type a text" in Shuffle(text="").picture()
