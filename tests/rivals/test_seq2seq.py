"""Encoder-decoders against loops over their papers' equations, on PyTorch's LSTM cells."""

import pytest
import torch
from torch import Tensor, nn

from tutor_lib.predict.generate import LanguageModel, generate
from tutor_lib.predict.sampling import Sampler
from tutor_lib.rivals.rnn import LSTM
from tutor_lib.rivals.seq2seq import (
    AdditiveAlignment,
    AttentiveSeq2Seq,
    DotAlignment,
    GeneralAlignment,
    RNNSeq2Seq,
)

V, C, B, S, T = 17, 5, 3, 7, 11
MASKS = {
    "none": None,
    "right": torch.arange(S) < torch.tensor([S, 4, 1])[:, None],
    "left": torch.arange(S) >= torch.tensor([0, 2, 6])[:, None],
}
MODELS = {
    "fixed vector": lambda: RNNSeq2Seq(V, C),
    "additive": lambda: AttentiveSeq2Seq(V, C),
    "dot": lambda: AttentiveSeq2Seq(V, C, DotAlignment),
    "general": lambda: AttentiveSeq2Seq(V, C, GeneralAlignment),
}
each_model = pytest.mark.parametrize("name", MODELS)


def model(name: str) -> RNNSeq2Seq:
    made = MODELS[name]()
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made.double()


def cell(ours: LSTM) -> nn.LSTMCell:
    theirs = nn.LSTMCell(ours.input_proj.in_features, ours.d_model).to(ours.input_proj.weight)
    theirs.weight_ih, theirs.weight_hh = ours.input_proj.weight, ours.state_proj.weight
    theirs.bias_ih, theirs.bias_hh = ours.input_proj.bias, None
    return theirs


def score(m: AttentiveSeq2Seq, s: Tensor, h: Tensor) -> Tensor:
    """How well a state of the decoder matches one annotation."""
    a = m.alignment
    if isinstance(a, AdditiveAlignment):
        inner = a.state_proj.weight @ s + a.key_proj.weight @ h
        return a.score_proj.weight[0] @ torch.tanh(inner)
    return s @ (a.key_proj.weight @ h if isinstance(a, GeneralAlignment) else h)


def row_loop(m: RNNSeq2Seq, source: Tensor, target: Tensor) -> tuple[Tensor, list[Tensor]]:
    """One source without filling and one target; the logits, and the weights of each token."""
    zeros = torch.zeros(C, dtype=torch.float64)
    read, h, c, annotations = cell(m.encoder), zeros, zeros, []
    for token in source:
        h, c = read(m.embedding.weight[token], (h, c))
        annotations.append(h)
    write, logits, looks = cell(m.decoder), [], []
    for token in target:
        x, seen = m.embedding.weight[token], []
        if isinstance(m, AttentiveSeq2Seq):
            e = torch.stack([score(m, h, annotation).exp() for annotation in annotations])
            looks.append(e / e.sum())
            seen = [sum(a * h_j for a, h_j in zip(looks[-1], annotations, strict=True))]
        h, c = write(torch.cat([x, *seen]), (h, c))
        logits.append(m.unembedding.weight @ torch.cat([h, *seen]) + m.unembedding.bias)
    return torch.stack(logits), looks


def texts() -> tuple[Tensor, Tensor]:
    return torch.randint(V, (B, S)), torch.randint(V, (B, T))


@pytest.mark.parametrize("filled", MASKS)
@each_model
def test_equals_a_loop_over_the_papers_equations(name, filled):
    m, (source, target), mask = model(name), texts(), MASKS[filled]
    kept = torch.ones(B, S, dtype=torch.bool) if mask is None else mask
    rows = [row_loop(m, source[b][kept[b]], target[b]) for b in range(B)]
    logits, expected = m(source, target, mask), torch.stack([row for row, _ in rows])
    torch.testing.assert_close(logits, expected)
    slope = torch.randn_like(logits)
    ours, theirs = (
        torch.autograd.grad(y, m.parameters(), slope, allow_unused=True) for y in (logits, expected)
    )
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("name", ["additive", "dot", "general"])
def test_the_alignment_is_the_loops_and_nothing_on_what_fills_up(name):
    m, (source, target), mask = model(name), texts(), MASKS["right"]
    read = m.encode(source, mask)
    weights = m.align(target, read, read.state)[2]
    assert not weights.masked_select(~mask[:, None]).any()
    for b in range(B):
        expected = torch.stack(row_loop(m, source[b][mask[b]], target[b])[1])
        torch.testing.assert_close(weights[b][:, mask[b]], expected)


@each_model
def test_on_every_device(name, place):
    device, dtype, tolerance = place
    m, (source, target) = model(name), texts()
    expected = m(source, target, MASKS["right"])
    logits = m.to(device, dtype)(*(x.to(device) for x in (source, target, MASKS["right"])))
    expected = expected.to(device, dtype)
    torch.testing.assert_close(logits, expected, rtol=10 * tolerance, atol=10 * tolerance)


@each_model
def test_what_is_written_later_changes_nothing_earlier(name):
    m, (source, target) = model(name), texts()
    changed = target.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % V
    before, after = m(source, target), m(source, changed)
    assert torch.equal(before[:, :6], after[:, :6])
    assert not torch.isclose(before[:, 6:], after[:, 6:]).all(-1).any()


@each_model
def test_greedy_decoding_is_the_loops(name):
    m, (source, _), mask = model(name), texts(), MASKS["left"]
    start = torch.zeros(B, 1, dtype=torch.long)
    given = m.given(source, mask)
    assert isinstance(given, LanguageModel)
    made = torch.stack([*generate(given, start, T, Sampler(temperature=0.0))], dim=1)
    for b in range(B):
        text = [0]
        for _ in range(T):
            logits, _ = row_loop(m, source[b][mask[b]], torch.tensor(text))
            text.append(int(logits[-1].argmax()))
        assert made[b].tolist() == text[1:]


def test_a_source_may_be_answered_twice():
    """Decoding replaces states and changes none: the second answer is the first."""
    given = model("additive").given(texts()[0])
    start = torch.zeros(B, 1, dtype=torch.long)
    first, second = (
        torch.stack([*generate(given, start, T, Sampler(temperature=0.0))]) for _ in range(2)
    )
    assert torch.equal(first, second)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, s, t: RNNSeq2Seq(0, C), "got 0 and 5"),
        (lambda m, s, t: RNNSeq2Seq(V, 0), "got 17 and 0"),
        (lambda m, s, t: m(s[:, :0], t), r"the text is empty: \(3, 0\)"),
        (lambda m, s, t: m(s, t[:, :0]), r"the text is empty: \(3, 0\)"),
        (lambda m, s, t: m(s + V, t), r"token id \d+ is outside 0…16"),
        (lambda m, s, t: m(s, t - V), r"token id -\d+ is outside 0…16"),
        (lambda m, s, t: m(s[:1], t), "1 sources do not fit 3 targets"),
        (lambda m, s, t: m(s, t, torch.ones(B, S - 1, dtype=torch.bool)), r"mask of \(3, 6\)"),
        (lambda m, s, t: m(s, t, torch.arange(B)[:, None].expand(B, S) < 1), "row 1 holds no"),
    ],
)
@each_model
def test_bad_input_is_named(name, call, message):
    with pytest.raises(ValueError, match=message):
        call(model(name), *texts())
