"""RoPE, its stretched frequencies and ALiBi in JavaScript as in PyTorch, and moved by hand."""

import re

import pytest
import torch

from tutor_lib.demos import Rope
from tutor_lib.demos.rope import vectors
from tutor_lib.demos.weights import storyteller
from tutor_lib.embed.alibi import alibi_bias, alibi_slopes
from tutor_lib.embed.rope import RotaryEmbedding, rope_angles
from tutor_lib.embed.rope_scaling import (
    DynamicNTKScaling,
    LinearScaling,
    RopeScaling,
    YaRNScaling,
)
from tutor_lib.inside.trace import values_of

SIZE, BASE, CONTEXT, FACTOR = 26, 500.0, 128, 4.0
# Dynamic NTK at four times the trained context, whose own factor is then 1.
SCALINGS = [RopeScaling(), LinearScaling(FACTOR), DynamicNTKScaling(1.0, CONTEXT),
            YaRNScaling(FACTOR, CONTEXT)]  # fmt: skip


@pytest.mark.parametrize("base", [500.0, 10_000.0])
@pytest.mark.parametrize("kind", range(4))
def test_frequencies(code, kind, base):
    plain = rope_angles(2, SIZE, base)[1]
    expected = SCALINGS[kind].frequencies(plain, base, 4 * CONTEXT)
    found = code("stretchedFrequencies", kind, plain.tolist(), base, FACTOR, CONTEXT)
    assert found == pytest.approx(expected.tolist(), abs=1e-5)
    assert code("magnitude", kind, FACTOR) == pytest.approx(SCALINGS[kind].attention_factor)


@pytest.mark.parametrize("kind", range(4))
def test_scores(code, kind):
    """As RotaryEmbedding rotates, in a text of 512 tokens."""
    rotary = RotaryEmbedding(SIZE, 4 * CONTEXT, BASE, SCALINGS[kind])
    q, k = torch.randn(2, 1, 1, 1, SIZE)
    plain = rope_angles(2, SIZE, BASE)[1]
    theta = code("stretchedFrequencies", kind, plain.tolist(), BASE, FACTOR, CONTEXT)
    for m, n in [(0, 0), (9, 5), (109, 105), (511, 3)]:
        rows = torch.tensor([[m]]), torch.tensor([[n]])
        if SCALINGS[kind].follows_length:  # its table is that of the length read so far
            turned = [
                rotary.turn(x, rotary.angles[p[0]]) for x, p in zip((q, k), rows, strict=True)
            ]
        else:
            turned = [rotary(x, positions=p) for x, p in zip((q, k), rows, strict=True)]
        expected = (turned[0] * turned[1]).sum().item() / SIZE**0.5
        found = code("turnedScore", q.flatten().tolist(), k.flatten().tolist(), m, n, theta,
                     code("magnitude", kind, FACTOR))  # fmt: skip
        assert found == pytest.approx(expected, abs=2e-4 if m > 500 else 1e-5)


def test_a_turned_vector(code):
    x = torch.randn(1, 1, 1, SIZE)
    plain = rope_angles(2, SIZE, BASE)[1]
    expected = RotaryEmbedding(SIZE, 19, BASE)(x, start=17).flatten()
    found = code("turnedTo", x.flatten().tolist(), 17, plain.tolist())
    assert found == pytest.approx(expected.tolist(), abs=1e-5)


@pytest.mark.parametrize("heads", [1, 2, 4, 16])
def test_slopes(code, heads):
    assert code("alibiSlopes", heads) == pytest.approx(alibi_slopes(heads).tolist())


def test_the_vectors_are_the_storytellers():
    """Its own attention scores come out of them, each at its own place in the sentence."""
    model, tokenizer = storyteller()
    ids = torch.tensor([tokenizer.encode("The cat sat on the mat because it was tired")])
    for part in vectors()[:2]:
        name = f"blocks.{part['layer']}.attention.scores"
        expected = values_of(model, ids, [name])[name][0, part["head"], 9, 1]
        angles = rope_angles(10, 32, 500.0)
        turn = storyteller()[0].blocks[0].attention.rotary.turn
        q, k = (turn(torch.tensor([part[x]]), angles[[t]])[0] for x, t in (("q", 9), ("k", 1)))
        assert (q @ k).item() / 32**0.5 == pytest.approx(expected.item(), abs=1e-5)


def score(page):
    return page.locator("[role=status] b").inner_text()


def test_both_move_and_the_score_stays(visit):
    with visit(name="blank") as page:
        page.mount("Rope")
        assert not page.get_by_role("status").is_visible()
        page.get_by_role("button", name="the same").click()
        before = score(page)
        page.get_by_role("button", name="Move both by 100", exact=True).click()
        assert [page.trait("query_position"), page.trait("key_position")] == [109, 105]
        assert score(page) == before
        page.get_by_role("slider", name="Query at m").fill("110")
        assert score(page) != before
        page.get_by_role("button", name="Move both by 100", exact=True).click()
        assert page.trait("query_position") == 127, "the text ends there"
        page.get_by_role("button", name="Move both by -100").click()
        page.get_by_role("button", name="Move both by -100").click()
        assert page.trait("key_position") == 0


def test_a_key_is_never_after_its_query(visit):
    with visit(name="blank") as page:
        page.mount("Rope", bet=1)
        page.get_by_role("slider", name="Key at n").fill("40")
        assert page.trait("query_position") == 40
        page.get_by_role("slider", name="Query at m").fill("3")
        assert page.trait("key_position") == 3


def test_dragging(visit):
    """A marker moves alone; what lies between them moves both."""
    with visit(name="blank") as page:
        page.mount("Rope", bet=1, query_position=80, key_position=20)
        before = score(page)
        drag(page, "[data-part=both]", 60)
        m, n = page.trait("query_position"), page.trait("key_position")
        assert m - n == 60
        assert m > 80
        assert score(page) == before
        drag(page, "[data-part=query_position]", -60)
        assert page.trait("key_position") == n
        assert page.trait("query_position") < m


def drag(page, part, by):
    box = page.locator(part).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + by, y, steps=4)
    page.mouse.up()
    page.mouse.move(x, y)


def test_alibi_is_told(visit):
    bias = alibi_bias(4, 10)[:, 9, 5].tolist()
    with visit(name="blank") as page:
        page.mount("Rope", bet=1)
        shown = ", ".join(f"{b:.2f}".replace("-", "−") for b in bias)
        assert page.get_by_text(f"adds to the scores of 4 heads: {shown}:").is_visible()


def test_more_positions_and_back(visit):
    with visit(name="blank") as page:
        page.mount("Rope", bet=1)
        page.get_by_role("radio", name="4 × 128").click()
        page.get_by_role("slider", name="Query at m").fill("511")
        page.get_by_role("radio", name="linear").click()
        assert "four times as slowly" in page.get_by_role("status").inner_text()
        page.get_by_role("radio", name="128, as trained").click()
        assert page.trait("query_position") == 127


def test_the_picture_is_the_curve():
    points = re.search(r'points="([^"]+)"', Rope().picture())[1].split()
    heights = torch.tensor([float(point.split(",")[1]) for point in points])
    q, k = (torch.tensor(vectors()[0][x]) for x in "qk")
    rotary = storyteller()[0].blocks[0].attention.rotary
    scores = rotary(q.expand(1, 1, 128, -1))[0, 0] @ k
    assert heights.argmin() == scores.argmax()
    assert len(points) == 128
