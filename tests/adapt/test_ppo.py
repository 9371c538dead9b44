"""PPO's parts against loops over the papers' formulas; `test_climb` has the whole."""

import dataclasses
import math

import pytest
import torch

from tutor_lib.adapt.ppo import (
    PPO,
    clipped_loss,
    clipped_value_loss,
    generalized_advantages,
    penalised_rewards,
    whitened,
)

PLAN = PPO(steps=30, batch=32, learning_rate=0.003, beta=0.01)


def rows() -> torch.Tensor:
    """A mask of answers that begin and end at different places, one of a single token."""
    mask = torch.zeros(4, 7, dtype=torch.bool)
    for row, (first, last) in enumerate([(2, 4), (0, 6), (3, 3), (1, 5)]):
        mask[row, first : last + 1] = True
    return mask


def test_each_token_pays_for_its_distance_and_the_last_one_earns():
    mask, rewards = rows(), torch.randn(4, dtype=torch.double)
    log_p, reference = torch.randn(2, 4, 7, dtype=torch.double)
    ours = penalised_rewards(rewards, log_p, reference, mask, 0.3)
    for row in range(4):
        places = [t for t in range(7) if mask[row, t]]
        for t in range(7):
            expected = -0.3 * (log_p[row, t] - reference[row, t]).item() if t in places else 0.0
            if t == places[-1]:
                expected += rewards[row].item()
            assert ours[row, t].item() == pytest.approx(expected)


def literal_advantages(rewards, values, mask, discount, trace):
    """Σ_l (γλ)^l δ_{t+l}, each term by itself."""
    out = torch.zeros_like(rewards)
    for row in range(len(rewards)):
        places = [t for t in range(rewards.size(1)) if mask[row, t]]
        delta = {}
        for t in places:
            after = values[row, t + 1].item() if t + 1 in places else 0.0
            delta[t] = rewards[row, t].item() + discount * after - values[row, t].item()
        for t in places:
            for n in range(places[-1] - t + 1):
                out[row, t] += (discount * trace) ** n * delta[t + n]
    return out


@pytest.mark.parametrize(("discount", "trace"), [(1.0, 0.95), (0.9, 0.7), (0.9, 0.0), (0.8, 1.0)])
def test_advantages_equal_the_sum_of_td_errors(discount, trace, place):
    device, dtype, tolerance = place
    mask = rows().to(device)
    rewards = torch.randn(4, 7).to(device, dtype) * mask
    values = torch.randn(4, 7).to(device, dtype)  # what lies outside the answers must not matter
    ours = generalized_advantages(rewards, values, mask, discount, trace)
    expected = literal_advantages(rewards.double(), values.double(), mask, discount, trace)
    torch.testing.assert_close(ours.double(), expected, rtol=tolerance, atol=10 * tolerance)


def test_lambda_1_is_the_return_less_the_value_and_lambda_0_the_td_error():
    mask = torch.ones(1, 5, dtype=torch.bool)
    rewards, values = torch.randn(2, 1, 5, dtype=torch.double)
    far = generalized_advantages(rewards, values, mask, 0.9, 1.0)
    near = generalized_advantages(rewards, values, mask, 0.9, 0.0)
    for t in range(5):
        discounted = sum(0.9 ** (s - t) * rewards[0, s] for s in range(t, 5))
        assert far[0, t].item() == pytest.approx((discounted - values[0, t]).item())
        after = values[0, t + 1] if t < 4 else 0.0
        error = rewards[0, t] + 0.9 * after - values[0, t]
        assert near[0, t].item() == pytest.approx(error.item())


def test_whitened_numbers_have_mean_0_and_variance_1_where_they_count():
    mask, x = rows(), 3 * torch.randn(4, 7, dtype=torch.double) + 5
    white = whitened(x, mask)
    inside = white[mask]
    assert inside.mean().abs() < 1e-12
    assert inside.std(correction=0).item() == pytest.approx(1.0)
    assert not white[~mask].any()
    order = x[mask].argsort()
    assert torch.equal(inside.argsort(), order)
    assert not whitened(torch.ones(4, 7), mask).any()  # and no NaN


def test_the_clipped_loss_is_the_papers():
    log_p, old = torch.randn(2, 5, 11, dtype=torch.double)
    advantages = torch.randn(5, 11, dtype=torch.double)
    ours = clipped_loss(log_p, old, advantages, 0.2)
    for place in zip(*(x.flatten() for x in (ours, log_p, old, advantages)), strict=True):
        loss, new, before, a = (x.item() for x in place)
        ratio = math.exp(new - before)
        clipped = min(max(ratio, 0.8), 1.2)
        assert loss == pytest.approx(-min(ratio * a, clipped * a))


def test_at_ratio_1_the_gradient_is_the_policy_gradient(decoder):
    model, ids = decoder().double(), torch.randint(31, (3, 7))
    advantages = torch.randn(3, 7, dtype=torch.double)
    chosen = torch.randint(31, (3, 7))
    log_p = model(ids).log_softmax(-1).gather(-1, chosen[..., None]).squeeze(-1)
    ours = clipped_loss(log_p, log_p.detach(), advantages, 0.2).sum()
    weights = [*model.parameters()]
    found = torch.autograd.grad(ours, weights, retain_graph=True)
    expected = torch.autograd.grad(-(advantages * log_p).sum(), weights)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("log_ratio", "advantage", "pulled"),
    [(0.5, 1.0, False), (0.5, -1.0, True), (-0.5, -1.0, False), (-0.5, 1.0, True)],
)
def test_the_clip_ends_gains_not_losses(log_ratio, advantage, pulled):
    log_p = torch.tensor([[log_ratio]], requires_grad=True)
    clipped_loss(log_p, torch.zeros(1, 1), torch.tensor([[advantage]]), 0.2).sum().backward()
    assert log_p.grad.any() == pulled


def test_the_value_loss_is_the_worse_of_two():
    values, old, returns = torch.randn(3, 5, 11, dtype=torch.double)
    ours = clipped_value_loss(values, old, returns, 0.2)
    for place in zip(*(x.flatten() for x in (ours, values, old, returns)), strict=True):
        loss, v, before, r = (x.item() for x in place)
        near = min(max(v, before - 0.2), before + 0.2)
        assert loss == pytest.approx(max((v - r) ** 2, (near - r) ** 2) / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"batch": 0}, "batch must be positive, got 0"),
        ({"clip": 0.0}, "clip must be positive, got 0.0"),
        ({"learning_rate": math.nan}, "learning_rate must be positive, got nan"),
        ({"beta": -0.1}, "beta must not be negative, got -0.1"),
        ({"trace": 1.1}, r"trace must lie in \[0, 1\], got 1.1"),
        ({"discount": -0.1}, r"discount must lie in \[0, 1\], got -0.1"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAN, **change)
