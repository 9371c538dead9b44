"""The residual stream in JavaScript against the values that PyTorch's blocks pass on."""

import re

import pytest
import torch
from torch.nn import functional as F

from tutor_lib.demos.residual_stream import ResidualStream
from tutor_lib.demos.weights import pack, storyteller
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder

TEXT = "Mia said: cat red forest key. Tom said: cat"
SHADOW = "alone.el.querySelector('.tutor-demo').shadowRoot"


@torch.no_grad()
def walk(model, ids) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What each part writes and the stream after it, block by block."""
    x = model.embedding(torch.tensor([ids]))
    steps = [(x[0], x[0])]
    for block in model.blocks:
        mixed = block.attention.fused(block.attention_norm(x), causal=True)
        x = x + mixed
        steps.append((mixed[0], x[0]))
        written = block.ffn(block.ffn_norm(x))
        x = x + written
        steps.append((written[0], x[0]))
    return steps


def close(found, expected, scale=1e-5):
    torch.testing.assert_close(torch.tensor(found).float(), expected, atol=scale, rtol=scale)


@torch.no_grad()
def test_what_every_part_writes(teller):
    model, tokenizer = storyteller()
    ids = tokenizer.encode(TEXT)
    found = teller.evaluate("(ids) => plain(code.streamSteps(teller, ids))", ids)
    expected = walk(model, ids)
    for t, steps in enumerate(found):
        assert [step["part"] for step in steps] == ["embedding"] + ["attention", "FFN"] * 3
        assert [step["layer"] for step in steps] == [0, 0, 0, 1, 1, 2, 2]
        for step, (written, stream) in zip(steps, expected, strict=True):
            close(step["wrote"], written[t], 1e-4)
            close(step["stream"], stream[t], 1e-4)


@torch.no_grad()
def test_what_every_part_writes_in_another_shape(code):
    """Random weights of moderate size: 1e-5 holds where no activation is huge."""
    config = DecoderConfig(vocab_size=269, context_length=19, n_layers=2, d_model=66, n_heads=33,
                           n_kv_heads=11, d_ff=53, rope_base=77.0)  # fmt: skip
    model = Decoder(config)
    for p in model.parameters():
        p.data = (0.1 * torch.randn_like(p)).half().float()
    data, weights = pack(model, storyteller()[1])
    ids = torch.randint(config.vocab_size, (13,)).tolist()
    found = code.page.evaluate(
        """([data, weights, ids]) => plain(code.streamSteps(new code.Storyteller(
             { ...data, weights: Uint8Array.from(weights) }), ids))""",
        [data, list(weights), ids],
    )
    for t, steps in enumerate(found):
        for step, (written, stream) in zip(steps, walk(model, ids), strict=True):
            close(step["wrote"], written[t])
            close(step["stream"], stream[t])


def test_steps_after_a_known_beginning(teller):
    ids = storyteller()[1].encode(TEXT)
    whole, rest = teller.evaluate(
        """(ids) => { const cache = teller.newCache();
             code.streamSteps(teller, ids.slice(0, 5), cache);
             const whole = code.streamSteps(teller, ids);
             return plain([whole, code.streamSteps(teller, ids, cache)]); }""",
        ids,
    )
    assert len(rest) == len(ids) - 5
    assert rest == whole[5:]


def test_lengths_and_cosine(code):
    written, before = torch.randn(2, 17)
    steps = [
        {"wrote": before.tolist(), "stream": before.tolist()},
        {"wrote": written.tolist(), "stream": (before + written).tolist()},
    ]
    first, found = code("describeStep", steps, 0), code("describeStep", steps, 1)
    assert first == {"wrote": first["stream"], "stream": first["stream"], "cosine": None}
    assert first["stream"] == pytest.approx(before.norm().item(), abs=1e-5)
    assert found["wrote"] == pytest.approx(written.norm().item(), abs=1e-5)
    assert found["stream"] == pytest.approx((before + written).norm().item(), abs=1e-5)
    cosine = F.cosine_similarity(written, before, dim=0).item()
    assert found["cosine"] == pytest.approx(cosine, abs=1e-5)


def test_a_part_that_writes_nothing_has_no_angle(code):
    step = {"wrote": [1, 2], "stream": [1, 2]}
    assert code("describeStep", [step, {"wrote": [0, 0], "stream": [1, 2]}], 1)["cosine"] == 0


@torch.no_grad()
def test_read_out(teller):
    model = storyteller()[0]
    x = torch.randn(model.config.d_model)
    found = teller.evaluate("(x) => plain(code.readOut(teller, Float32Array.from(x)))", x.tolist())
    close(found, model.unembed(x[None, None])[0, 0].softmax(-1))


def rows(page) -> list[list[str]]:
    """The table as a reader reads it: length, cosine, stream and token of each part."""
    return page.evaluate(
        f"""() => [...{SHADOW}.querySelectorAll('.stream tbody tr')].map((row) =>
             [...row.querySelectorAll('th, td:not(.trunk)')].map((cell) => cell.textContent))"""
    )


@torch.no_grad()
def test_a_reader_bets_and_then_sees(visit):
    model, tokenizer = storyteller()
    with visit(name="blank") as page:
        page.mount("ResidualStream")
        assert not page.locator(".stream").is_visible()
        page.get_by_role("button", name="FFN 0").click()
        assert page.get_by_role("button", name="FFN 0").get_attribute("aria-pressed") == "true"
        steps = walk(model, tokenizer.encode(ResidualStream().text))
        lengths = [written[-1].norm().item() for written, _ in steps]
        for row, length, (_, stream) in zip(rows(page), lengths, steps, strict=True):
            assert row[1] == f"{length:.2f}"
            assert row[3] == f"{stream[-1].norm().item():.2f}"
            best = model.unembed(stream[None, -1:])[0, 0].softmax(-1).max(-1)
            assert row[4].startswith(tokenizer.decode([int(best.indices)]).replace(" ", "␣"))
        said = page.locator("[role=status]").all_text_contents()
        most = ["embedding", "attention 0", "FFN 0", "attention 1", "FFN 1", "attention 2", "FFN 2"]
        most = most[lengths.index(max(lengths))]
        assert any(f"{most} writes most" in text and "You bet on FFN 0" in text for text in said)
        assert not page.complaints


@torch.no_grad()
def test_another_token_and_another_part(visit):
    model, tokenizer = storyteller()
    with visit(name="blank") as page:
        page.mount("ResidualStream")
        page.get_by_role("button", name="FFN 2").click()
        page.get_by_role("radio", name="cat", exact=False).first.check(force=True)
        assert page.trait("position") == 1
        steps = walk(model, tokenizer.encode(ResidualStream().text))
        assert rows(page)[2][1] == f"{steps[2][0][1].norm().item():.2f}"
        page.get_by_role("radio", name="attention 1").check()
        assert page.trait("part") == 3
        shown = page.locator(".inside .note").first.text_content()
        written = steps[3][0][1]
        largest = written.abs().topk(5).indices.tolist()
        assert [int(i) for i in re.findall(r"dim (\d+)", shown)] == largest


def test_an_edited_text_is_read_like_a_new_one(visit):
    """What the text begins with as before is not read again; that must not show."""
    with visit(name="blank") as page:
        page.mount("ResidualStream", text="The dog sat on the mat because it was")
        page.get_by_role("button", name="FFN 2").click()
        field = page.get_by_label("Text", exact=True)
        field.fill("The dog sat on the rug, so the")
        edited = rows(page)
        page.mount("ResidualStream", text="The dog sat on the rug, so the")
        page.get_by_role("button", name="FFN 2").click()
        assert rows(page) == edited


def test_no_text_and_too_much_text(visit):
    with visit(name="blank") as page:
        page.mount("ResidualStream")
        page.get_by_role("button", name="FFN 2").click()
        field = page.get_by_label("Text", exact=True)
        field.fill("")
        assert "Type a text" in page.locator(".note").first.text_content()
        assert not page.locator(".stream").is_visible()
        field.fill("a b c d e f " * 9)
        assert "The first 24 are shown" in page.locator(".note").first.text_content()
        assert page.locator(".stream").is_visible()
        assert not page.complaints
