"""The losses against PyTorch's, and against loops over the formulas; teacher forcing by example."""

import math

import pytest
import torch
from torch.nn import functional as F

from tutor_lib.model.seq2seq import Transformer, TransformerConfig
from tutor_lib.train.loss import (
    IGNORED,
    cross_entropy,
    next_token_loss,
    next_tokens,
    shift_right,
    smoothed_cross_entropy,
)

B, T, V = 3, 7, 31


def some_targets(device: str = "cpu") -> torch.Tensor:
    targets = torch.randint(V, (B, T))
    targets[0, 3:] = IGNORED
    targets[2, :2] = IGNORED
    return targets.to(device)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_equals_pytorch_value_and_gradient(place, smoothing):
    device, dtype, tolerance = place
    logits = torch.randn(B, T, V).to(device, dtype).requires_grad_()
    theirs = logits.detach().clone().requires_grad_()
    targets = some_targets(device)
    ours = smoothed_cross_entropy(logits, targets, smoothing)
    expected = F.cross_entropy(
        theirs.float().transpose(1, 2) if dtype is torch.bfloat16 else theirs.transpose(1, 2),
        targets,
        ignore_index=-100,
        label_smoothing=smoothing,
    )
    torch.testing.assert_close(ours, expected, rtol=tolerance, atol=tolerance)
    ours.backward()
    expected.backward()
    torch.testing.assert_close(logits.grad, theirs.grad, rtol=tolerance, atol=tolerance)


def test_smoothing_is_the_papers_formula():
    """The target distribution is (1 - ε) · one-hot + ε / V, and the loss its cross-entropy."""
    logits, targets, total, n = torch.randn(B, T, V).double(), some_targets(), 0.0, 0
    for b in range(B):
        for t in range(T):
            if targets[b, t] == IGNORED:
                continue
            exponentials = [math.exp(z) for z in logits[b, t].tolist()]
            for v, e in enumerate(exponentials):
                wanted = 0.9 * (v == targets[b, t]) + 0.1 / V
                total -= wanted * math.log(e / sum(exponentials))
            n += 1
    assert n == B * T - 6
    assert smoothed_cross_entropy(logits, targets, 0.1).item() == pytest.approx(total / n)


def test_without_smoothing_it_is_the_cross_entropy():
    logits, targets = torch.randn(B, T, V), some_targets()
    torch.testing.assert_close(
        cross_entropy(logits, targets), smoothed_cross_entropy(logits, targets, 0.0)
    )


def test_a_smoothed_loss_is_least_at_finite_logits():
    """At the optimum p(target) = 1 - ε + ε / V, so the logits are log of that ratio apart."""
    logits, targets = torch.zeros(1, 1, V, dtype=torch.double), torch.tensor([[5]])
    best = math.log((0.9 + 0.1 / V) / (0.1 / V))
    losses = []
    for gap in (best - 0.1, best, best + 0.1):
        logits[0, 0, 5] = gap
        losses.append(smoothed_cross_entropy(logits, targets, 0.1).item())
    assert losses[1] < min(losses[0], losses[2])


def test_half_precision_is_summed_in_float32():
    logits = (4 * torch.randn(B, T, V)).bfloat16()
    targets = some_targets()
    exact = F.cross_entropy(logits.double().transpose(1, 2), targets).item()
    assert cross_entropy(logits, targets).item() == pytest.approx(exact, rel=1e-5)
    assert smoothed_cross_entropy(logits, targets, 0.0).item() == pytest.approx(exact, rel=1e-5)


def test_each_position_predicts_the_next_token():
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])
    assert next_tokens(ids).tolist() == [[6, 7, 8, IGNORED], [10, 11, 12, IGNORED]]


def test_a_masked_token_is_read_and_not_predicted():
    """Of "prompt prompt answer answer", the first answer is predicted from the last prompt."""
    ids = torch.tensor([[5, 6, 7, 8]])
    counted = torch.tensor([[False, False, True, True]])
    assert next_tokens(ids, counted).tolist() == [[IGNORED, 7, 8, IGNORED]]
    logits = torch.randn(1, 4, V)
    expected = -(logits[0, 1].log_softmax(0)[7] + logits[0, 2].log_softmax(0)[8]) / 2
    torch.testing.assert_close(cross_entropy(logits, next_tokens(ids, counted)), expected)


def test_the_decoder_reads_the_start_then_the_target_without_its_last():
    target = torch.tensor([[5, 6, 7], [8, 9, IGNORED], [10, IGNORED, IGNORED]])
    assert shift_right(target, 1).tolist() == [[1, 5, 6], [1, 8, 9], [1, 10, 1]]


def test_teacher_forcing_is_the_product_over_one_token_at_a_time():
    """One pass over the true text gives what asking for each token after the true ones gives."""
    config = TransformerConfig(
        vocab_size=V, context_length=11, n_layers=2, d_model=14, n_heads=1, d_ff=17
    )
    model = Transformer(config).eval()
    source, target = torch.randint(V, (1, 5)), torch.randint(2, V, (1, T))
    loss = cross_entropy(model(source, shift_right(target, 1)), target)
    read, terms = [1], []
    for token in target[0].tolist():
        logits = model(source, torch.tensor([read]))[0, -1]
        terms.append(-logits.log_softmax(0)[token].item())
        read.append(token)
    assert loss.item() == pytest.approx(sum(terms) / T, rel=1e-5)


LOGITS, NOTHING = torch.zeros(1, 2, V), torch.full((1, 2), IGNORED)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: cross_entropy(LOGITS, NOTHING), "all of 2 targets are ignored"),
        (lambda: smoothed_cross_entropy(LOGITS, NOTHING, 0.1), "all of 2 targets are ignored"),
        (lambda: cross_entropy(LOGITS, torch.tensor([[3, V]])), "target 31 is outside 0…30"),
        (lambda: cross_entropy(LOGITS, torch.tensor([[3, -1]])), "target -1 is outside 0…30"),
        (lambda: smoothed_cross_entropy(LOGITS, NOTHING, 1.0), "got 1.0"),
        (lambda: smoothed_cross_entropy(LOGITS, NOTHING, math.nan), "got nan"),
        (lambda: next_token_loss(torch.zeros(2, 1, V), torch.zeros(2, 1).long()), "all of 2"),
        (lambda: next_tokens(torch.zeros(2, 3).long(), torch.ones(2, 2).bool()), r"\(2, 2\) does"),
        (lambda: shift_right(torch.zeros(2, 3).long(), -1), "got -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
