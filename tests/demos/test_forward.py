"""The forward pass in JavaScript against the same weights in PyTorch."""

import copy

import pytest
import torch

from tutor_lib.demos.weights import pack, storyteller
from tutor_lib.inside.induction import previous_token_scores
from tutor_lib.inside.trace import attention_weights
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder

TEXT = "The cat sat on the mat because it was tired, so the"


def logits(teller, ids, cut=None):
    """The logits after each prefix length in `cut`, read piece by piece into one cache."""
    return teller.evaluate(
        """([ids, cut]) => { const cache = teller.newCache(); let from = 0;
             return cut.map((to) => { const part = ids.slice(from, to); from = to;
               return plain(teller.read(part, cache)); }); }""",
        [ids, cut or [len(ids)]],
    )


@pytest.fixture
def ids():
    return storyteller()[1].encode(TEXT)


@torch.no_grad()
def test_logits_of_the_storyteller(teller, ids):
    expected = storyteller()[0](torch.tensor([ids]))[0]
    found = torch.tensor(logits(teller, ids, [*range(1, len(ids) + 1)]))
    print(f"\nlargest difference of a logit: {(found - expected).abs().max():.1e}")
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@torch.no_grad()
def test_logits_over_the_whole_context(teller):
    config = storyteller()[0].config
    ids = torch.randint(config.vocab_size, (1, config.context_length))
    found = torch.tensor(logits(teller, ids[0].tolist())[0])
    torch.testing.assert_close(found, storyteller()[0](ids)[0, -1], atol=1e-3, rtol=0)


@torch.no_grad()
def test_logits_of_another_shape(code):
    """No size of the storyteller is built in: groups of three heads, odd widths, another base."""
    config = DecoderConfig(vocab_size=269, context_length=19, n_layers=2, d_model=66, n_heads=33,
                           n_kv_heads=11, d_ff=53, rope_base=77.0, norm_eps=1e-3)  # fmt: skip
    torch.manual_seed(3)
    model = Decoder(config)
    for p in model.parameters():
        p.data = (0.3 * torch.randn_like(p)).half().float()
    data, weights = pack(model, storyteller()[1])
    ids = torch.randint(config.vocab_size, (1, 17))
    found = code.page.evaluate(
        """([data, weights, ids]) => plain(new code.Storyteller(
             { ...data, weights: Uint8Array.from(weights) }).read(ids))""",
        [data, list(weights), ids[0].tolist()],
    )
    torch.testing.assert_close(torch.tensor(found), model(ids)[0, -1], atol=1e-3, rtol=1e-4)


def test_cached_equals_uncached(teller, ids):
    whole = logits(teller, ids)[0]
    for cut in ([1, len(ids)], [len(ids) - 1, len(ids)], [3, 7, len(ids)]):
        assert logits(teller, ids, cut)[-1] == pytest.approx(whole, abs=1e-5)


def test_a_reading_that_changes_its_mind(teller, ids):
    """A shared beginning is kept; what follows it is read anew."""
    other = [*ids[:5], 300, 301]
    found = teller.evaluate(
        """(texts) => { const reading = new code.Reading(teller);
             return texts.map((ids) => plain(reading.read(ids))); }""",
        [ids, other, other, other[:3], ids],
    )
    expected = [logits(teller, text)[0] for text in (ids, other, other, other[:3], ids)]
    for one, two in zip(found, expected, strict=True):
        assert one == pytest.approx(two, abs=1e-5)


def test_heads(teller, ids):
    """Every head's weights, and that its queries and keys give them."""
    heads = teller.evaluate("(ids) => plain(new code.TracedReading(teller).read(ids))", ids)
    expected = attention_weights(storyteller()[0], torch.tensor([ids]))[:, 0]
    for layer, row in enumerate(heads):
        for number, head in enumerate(row):
            for t, weights in enumerate(head["weights"]):
                torch.testing.assert_close(
                    torch.tensor(weights).float(),
                    expected[layer, number, t, : t + 1],
                    atol=1e-5,
                    rtol=0,
                )
    assert len(heads) == expected.size(0)
    assert len(heads[0]) == expected.size(1)


def test_the_steps_to_a_weight(code, teller, ids):
    """Product by product as PyTorch computes it, in the past and in the masked future."""
    head = teller.evaluate("(ids) => plain(new code.TracedReading(teller).read(ids)[1][2])", ids)
    q, k = torch.tensor(head["q"]), torch.tensor(head["k"])
    scores = q @ k.T / q.size(1) ** 0.5
    past = code("cellSteps", {"q": head["q"], "k": head["k"]}, 9, 4)
    assert past["products"] == pytest.approx((q[9] * k[4]).tolist(), abs=1e-5)
    assert past["dot"] == pytest.approx((q[9] @ k[4]).item(), abs=1e-5)
    assert past["scaled"] == past["masked"] == pytest.approx(scores[9, 4].item(), abs=1e-5)
    row = scores[9, :10].softmax(-1)
    assert past["weight"] == pytest.approx(row[4].item(), abs=1e-5)
    assert past["exponential"] / past["sum"] == pytest.approx(row[4].item(), abs=1e-5)
    future = code("cellSteps", {"q": head["q"], "k": head["k"]}, 4, 9)
    assert future["scaled"] == pytest.approx(scores[4, 9].item(), abs=1e-5)
    assert future["masked"] == float("-inf")
    assert future["weight"] == 0


def test_head_summary(teller, ids):
    """The mean weight on the token before is the library's previous-token score."""
    model = storyteller()[0]
    expected = previous_token_scores(model, torch.tensor([ids]))
    weights = attention_weights(model, torch.tensor([ids]))[:, 0]
    found = teller.evaluate(
        """(ids) => new code.TracedReading(teller).read(ids).map((row) =>
             row.map((head) => plain(code.headSummary(head.weights))))""",
        ids,
    )
    for layer, row in enumerate(found):
        for number, summary in enumerate(row):
            w = weights[layer, number, 1:]
            assert summary["previous"] == pytest.approx(expected[layer, number].item(), abs=1e-5)
            assert summary["first"] == pytest.approx(w[:, 0].mean().item(), abs=1e-5)
            own = w.diagonal(offset=1).mean().item()
            assert summary["self"] == pytest.approx(own, abs=1e-5)


def test_head_summary_of_one_token(code):
    assert code("headSummary", [[1.0]]) == {"self": 0, "previous": 0, "first": 0}


def test_where_a_key_leads(code):
    assert code("moved", "ArrowUp", [0, 2], 5) == [0, 2]
    assert code("moved", "ArrowDown", [3, 2], 5) == [4, 2]
    assert code("moved", "ArrowLeft", [3, 2], 5) == [3, 1]
    assert code("moved", "ArrowRight", [3, 4], 5) == [3, 4]
    assert code("moved", "Home", [3, 2], 5) == [3, 0]
    assert code("moved", "End", [3, 2], 5) == [3, 4]
    assert code("moved", "x", [3, 2], 5) is None


def test_chart_rows(teller):
    rows = teller.evaluate(
        """() => code.chartRows(code.distribution([0, 3, 2, 1], { topK: 3, topP: 0.8 }),
             (id) => `t${id}`, 4)"""
    )
    assert [row["label"] for row in rows] == ["t1", "t2", "t3", "t0"]
    assert [row["cut"] for row in rows] == [False, False, True, True]
    assert [row["note"] for row in rows[2:]] == ["cut by top-p", "cut by top-k"]
    assert sum(row["value"] for row in rows) == pytest.approx(1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("teller.read([])", "no token to read"),
        ("teller.read([100000])", "token id 100000 is outside"),
        (
            "teller.read(new Array(teller.config.context_length + 1).fill(0))",
            "do not fit the context",
        ),
    ],
)
def test_what_cannot_be_read(teller, call, message):
    with pytest.raises(Exception, match=message):
        teller.evaluate(call)


def test_weights_that_do_not_fit_16_bits():
    model = copy.deepcopy(storyteller()[0])
    model.final_norm.weight.data[0] = 1e6
    with pytest.raises(ValueError, match="not finite"):
        pack(model, storyteller()[1])


def test_at_least_100_tokens_a_second(teller):
    """Sampling a whole context, as the demo does, one token after another."""
    rate = teller.evaluate(
        """() => {
          const reading = new code.Reading(teller), next = code.random(1);
          const ids = teller.tokenizer.encode("Once upon a time"), first = ids.length;
          const began = performance.now();
          while (ids.length < teller.config.context_length) {
            const settings = { temperature: 1, topK: 20, topP: 0.9 };
            const { probabilities } = code.distribution(reading.read(ids), settings);
            ids.push(code.draw(probabilities, next()));
          }
          return (1000 * (ids.length - first)) / (performance.now() - began);
        }"""
    )
    print(f"\nthe storyteller samples {rate:.0f} tokens a second in the browser")
    assert rate >= 100
