"""The logit lens and the count of passes against tutor_lib, and how Generate shows them."""

import pytest
import torch

from tutor_lib.demos.weights import storyteller
from tutor_lib.inside.lens import logit_lens
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler

TEXTS = ["The cat sat on the mat because it was tired, so the", "Once", "Mia said: red key. Tom"]
LENS = """([ids, count]) => { const collector = code.streamCollector();
  teller.read(ids, teller.newCache(), null, collector);
  return plain(code.layerPredictions(teller, collector.streams, count)); }"""


@pytest.mark.parametrize("text", TEXTS)
def test_lens(teller, text):
    """After the embedding and after each block: the top tokens and their probabilities."""
    model, tokenizer = storyteller()
    ids = tokenizer.encode(text)
    found = teller.evaluate(LENS, [ids, 5])
    lens = logit_lens(model, torch.tensor([ids]))[:, 0, -1].double().softmax(-1)
    final = lens[-1].argmax()
    assert len(found) == len(lens) == model.config.n_layers + 1
    for row, expected in zip(found, lens, strict=True):
        top = expected.topk(5)
        assert [one["id"] for one in row["top"]] == top.indices.tolist()
        shares = torch.tensor([one["probability"] for one in row["top"]], dtype=torch.float64)
        torch.testing.assert_close(shares, top.values, atol=1e-5, rtol=1e-5)
        assert row["rank"] == (expected > expected[final]).sum() + 1
        assert row["share"] == pytest.approx(expected[final].item(), abs=1e-5)


def test_a_reading_that_goes_on_sees_the_same_streams(teller):
    """What the cache holds is not computed again, and the last position is always seen."""
    ids = storyteller()[1].encode(TEXTS[0])
    both = teller.evaluate(
        """(ids) => { const reading = new code.Reading(teller), collectors = [];
             for (const text of [ids.slice(0, 3), ids, ids]) {
               collectors.push(code.streamCollector()); reading.read(text, collectors.at(-1)); }
             const alone = code.streamCollector();
             teller.read(ids, teller.newCache(), null, alone);
             return plain([...collectors, alone].map(({ streams }) => streams)); }""",
        ids,
    )
    for depth in range(4):
        torch.testing.assert_close(torch.tensor(both[1][depth]), torch.tensor(both[3][depth]))
        assert both[1][depth] == both[2][depth]


def test_passes(code):
    """As many positions as really go through the library's model, prediction for prediction."""
    model, tokenizer = storyteller()
    prompt = torch.tensor([tokenizer.encode("Once upon a time")])
    passed = []
    hook = model.embedding.register_forward_hook(
        lambda module, inputs, output: passed.append(inputs[0].numel())
    )
    list(generate(model, prompt, 7, Sampler(temperature=0.0)))
    hook.remove()
    found = code("passCounts", prompt.size(1), 6)
    assert [row["cached"] for row in found] == passed
    assert [row["plain"] for row in found] == [prompt.size(1) + n for n in range(7)]


def test_the_layers_are_shown_after_a_bet(visit):
    model, tokenizer = storyteller()
    ids = torch.tensor([tokenizer.encode(TEXTS[0])])
    lens = logit_lens(model, ids)[:, 0, -1]
    final = lens[-1].argmax()
    first = next(i for i, logits in enumerate(lens) if logits.argmax() == final)
    with visit(name="blank") as page:
        page.mount("Generate")
        assert page.locator(".lens").count() == 0
        name = f"block {first}" if first else "embedding"
        page.locator(".bets button", has_text=name).click()
        assert "Your bet was right." in page.locator(".steps").first.inner_text()
        tops = page.locator(".lens tbody td:first-of-type .token").all_inner_texts()
        assert [t.replace("␣", " ") for t in tops] == [
            tokenizer.decode([int(logits.argmax())]) for logits in lens
        ]
        page.get_by_role("button", name="Sample one").click()
        assert page.locator(".lens").count() == 1
        page.get_by_role("button", name="Reset").click()
        assert page.locator(".lens").count() == 0


def test_prefill_and_decode_are_told(visit):
    length = len(storyteller()[1].encode(TEXTS[0]))
    with visit(name="blank") as page:
        page.mount("Generate")
        work = page.locator(".steps").last
        assert f"Prefill: all {length} positions" in work.inner_text()
        for _ in range(3):
            page.get_by_role("button", name="Sample one").click()
        numbers = work.locator(".bars td.number").all_inner_texts()
        assert numbers == [str(length + 3), str(4 * length + 6)]
        work.locator("summary").click()
        rows = work.locator("details tbody tr").all_inner_texts()
        assert [row.split("\t")[1:] for row in rows] == [
            [str(length if n == 0 else 1), str(length + n)] for n in range(4)
        ]
        assert rows[1].startswith("decode 1: ")


def test_min_p_cuts_in_the_chart(visit):
    with visit(name="blank") as page:
        page.mount("Generate", min_p=1.0)
        assert page.locator("tr.cut").count() == 11
        assert "cut by min-p" in page.locator(".bars").first.inner_text()
