"""DPO against its paper's loss and gradient, written out."""

import math

import pytest
import torch
from torch.distributions import Categorical

from tutor_lib.adapt.dpo import (
    answer_log_probs,
    dpo,
    dpo_accuracy,
    dpo_loss,
    implicit_reward,
    judged,
)
from tutor_lib.adapt.fit import Fit
from tutor_lib.adapt.reward import Preference
from tutor_lib.adapt.rollout import frozen_copy
from tutor_lib.adapt.sft import Example

PAIRS = [
    Preference(Example((3, 1, 4), (1, 5)), Example((3, 1, 4), (9, 2, 6))),
    Preference(Example((2,), (7, 1, 8, 2)), Example((2,), (8,))),
    Preference(Example((1, 6), (1, 8)), Example((1, 6), (0, 3))),
]


def log_p(model, example: Example) -> torch.Tensor:
    """Σ log π(y_t | x, y_<t), a token at a time."""
    text, total = list(example.prompt), 0.0
    for token in example.answer:
        logits = model(torch.tensor([text]))[0, -1]
        total = total + Categorical(logits=logits).log_prob(torch.tensor(token))
        text.append(token)
    return total


def test_an_answers_log_probability_is_the_sum_over_its_tokens(decoder, examples):
    model = decoder().double()
    expected = torch.stack([log_p(model, e) for e in examples])
    torch.testing.assert_close(answer_log_probs(model, examples), expected)


def test_the_loss_is_the_papers(place):
    device, dtype, tolerance = place
    won, lost, ref_won, ref_lost = (-5 * torch.rand(4, 11)).to(device, dtype)
    terms = []
    for a, b, c, d in zip(won, lost, ref_won, ref_lost, strict=True):
        margin = 0.3 * (a - c).item() - 0.3 * (b - d).item()
        terms.append(-math.log(1 / (1 + math.exp(-margin))))
    loss = dpo_loss(won, lost, ref_won, ref_lost, 0.3)
    assert loss.item() == pytest.approx(sum(terms) / 11, rel=tolerance)


def test_the_gradient_is_the_papers(decoder):
    """-β σ(r_l - r_w) (∇log π(y_w) - ∇log π(y_l)), averaged: §4 of the paper, what DPO does."""
    policy, reference = decoder(1).double(), decoder(2).double()
    answers = [*(p.chosen for p in PAIRS), *(p.rejected for p in PAIRS)]
    ours = dpo_loss(
        *answer_log_probs(policy, answers).split(3),
        *answer_log_probs(reference, answers).detach().split(3),
        beta=0.3,
    )
    total = 0.0
    for pair in PAIRS:
        won, lost = log_p(policy, pair.chosen), log_p(policy, pair.rejected)
        r_w = 0.3 * (won - log_p(reference, pair.chosen)).item()
        r_l = 0.3 * (lost - log_p(reference, pair.rejected)).item()
        total = total - 0.3 / (1 + math.exp(r_w - r_l)) * (won - lost) / 3
    weights = [*policy.parameters()]
    found, expected = (torch.autograd.grad(loss, weights) for loss in (ours, total))
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


def test_it_begins_at_log_2_and_falls_as_the_chosen_answer_gains():
    start = -5 * torch.rand(2, 7, dtype=torch.double)
    losses = [dpo_loss(start[0] + gain, start[1], *start, 0.1).item() for gain in (0.0, 1.0, 2.0)]
    assert losses[0] == math.log(2)
    assert losses[0] > losses[1] > losses[2]
    assert dpo_loss(start[0], start[1] + 1.0, *start, 0.1) > losses[0]
    assert not implicit_reward(start[0], start[0], 0.1).any()


def test_the_reference_is_asked_once_and_stays_as_it_is(decoder):
    policy = decoder()
    reference, calls = frozen_copy(policy), []
    before = {name: p.clone() for name, p in reference.named_parameters()}
    reference.register_forward_hook(lambda *_: calls.append(1))
    losses = [*dpo(policy, reference, PAIRS, Fit(20, 3, 0.003), torch.Generator(), 0.3)]
    assert len(calls) == 2  # once for the chosen answers, once for the rejected ones
    assert losses[0] == pytest.approx(math.log(2))
    assert losses[-1] < 0.3
    for name, p in reference.named_parameters():
        assert torch.equal(p, before[name])
        assert p.grad is None


def test_the_chosen_answers_gain_on_the_rejected_ones(decoder):
    policy = decoder()
    reference = frozen_copy(policy)
    scored = judged(reference, PAIRS)
    assert dpo_accuracy(policy, scored) == 0.0  # nobody has gained anything yet
    for j, pair in zip(scored, PAIRS, strict=True):
        assert j.pair == pair
        assert j.chosen == pytest.approx(log_p(reference, pair.chosen).item(), rel=1e-5)
        assert j.rejected == pytest.approx(log_p(reference, pair.rejected).item(), rel=1e-5)
    list(dpo(policy, reference, PAIRS, Fit(10, 3, 0.003), torch.Generator(), 0.3))
    assert dpo_accuracy(policy, scored) == 1.0
    for pair in PAIRS:
        now = log_p(policy, pair.chosen) - log_p(policy, pair.rejected)
        then = log_p(reference, pair.chosen) - log_p(reference, pair.rejected)
        assert now > then


def test_the_same_seed_trains_the_same_policy(decoder):
    runs = []
    for seed in (1, 1, 2):
        policy, generator = decoder(), torch.Generator().manual_seed(seed)
        runs.append([*dpo(policy, frozen_copy(policy), PAIRS, Fit(5, 2, 0.01), generator)])
    assert runs[0] == runs[1] != runs[2]


def test_bad_input_is_named(decoder):
    zeros = torch.zeros(4, 2)
    with pytest.raises(ValueError, match=r"beta must be positive, got 0\.0"):
        dpo_loss(*zeros, 0.0)
    with pytest.raises(ValueError, match="beta must be positive, got nan"):
        dpo_loss(*zeros, math.nan)
    with pytest.raises(ValueError, match="no pairs"):
        dpo_accuracy(decoder(), [])
    with pytest.raises(ValueError, match="no data"):
        next(dpo(decoder(), decoder(), [], Fit(1, 1, 0.1), torch.Generator()))
