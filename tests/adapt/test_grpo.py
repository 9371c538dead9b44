"""GRPO against loops over the paper's formulas, and on a task it can solve."""

import dataclasses
import math
import statistics

import pytest
import torch

from tutor_lib.adapt.grpo import GRPO, group_advantages, grpo, grpo_loss
from tutor_lib.adapt.rollout import Task, frozen_copy

PLAN = GRPO(steps=30, n_prompts=4, group_size=8, learning_rate=0.003, beta=0.01)


def test_advantages_are_normalised_within_the_group(place):
    device, dtype, tolerance = place
    rewards = torch.randn(5, 7).to(device, dtype)
    ours = group_advantages(rewards)
    for group, found in zip(rewards.tolist(), ours.tolist(), strict=True):
        mean, std = statistics.fmean(group), statistics.pstdev(group)
        assert found == pytest.approx([(r - mean) / std for r in group], abs=20 * tolerance)


def test_a_group_of_equal_rewards_teaches_nothing():
    """Even where the mean of equal numbers is not quite that number."""
    rewards = torch.tensor([[0.1] * 7, [1.0] * 7, [0.0] * 6 + [1.0], [1 / 3] * 7])
    advantages = group_advantages(rewards)
    assert not advantages[[0, 1, 3]].any()
    assert advantages[2, -1].item() == pytest.approx(math.sqrt(6))
    assert advantages.isfinite().all()


def numbers():
    log_p, old, reference = -3 * torch.rand(3, 4, 7, dtype=torch.double)
    mask = torch.zeros(4, 7, dtype=torch.bool)
    for row, (first, last) in enumerate([(2, 4), (0, 6), (3, 3), (1, 5)]):
        mask[row, first : last + 1] = True
    return log_p, old, reference, torch.randn(4, dtype=torch.double), mask


def test_the_loss_is_the_papers():
    log_p, old, reference, advantages, mask = numbers()
    total = 0.0
    for i in range(4):
        places = [t for t in range(7) if mask[i, t]]
        inner = 0.0
        for t in places:
            ratio = math.exp(log_p[i, t] - old[i, t])
            a = advantages[i].item()
            gain = min(ratio * a, min(max(ratio, 0.8), 1.2) * a)
            q = math.exp(reference[i, t] - log_p[i, t])
            inner += gain - 0.3 * (q - math.log(q) - 1)
        total += inner / len(places)
    loss = grpo_loss(log_p, old, reference, advantages, mask, 0.2, 0.3)
    assert loss.item() == pytest.approx(-total / 4)


def test_the_gradient_equals_finite_differences():
    log_p, old, reference, advantages, mask = numbers()
    assert torch.autograd.gradcheck(
        lambda x: grpo_loss(x, old, reference, advantages, mask, 0.2, 0.3),
        log_p.requires_grad_(),
    )


def test_at_the_start_the_gradient_is_the_policy_gradient():
    log_p, _, _, advantages, mask = numbers()
    log_p.requires_grad_()
    at = log_p.detach()
    (found,) = torch.autograd.grad(grpo_loss(log_p, at, at, advantages, mask, 0.2, 0.3), log_p)
    expected = -advantages[:, None] * mask / mask.sum(1, keepdim=True) / 4
    torch.testing.assert_close(found, expected)


def test_answers_are_compared_with_answers_to_the_same_prompt(decoder):
    """Each group has one prompt, and the reward of a prompt as such moves nothing."""
    policy, seen = decoder(), []

    def by_prompt(answers) -> list[float]:
        seen.extend(e.prompt for e in answers)
        return [float(sum(e.prompt)) for e in answers]

    task = Task([(3, 1), (4,), (1, 5, 9)], by_prompt, 5, end=30)
    before = {name: p.clone() for name, p in policy.named_parameters()}
    plan = dataclasses.replace(PLAN, steps=2, beta=0.0)
    list(grpo(policy, frozen_copy(policy), task, plan, torch.Generator()))
    groups = [seen[i : i + 8] for i in range(0, len(seen), 8)]
    assert len(groups) == 2 * 4
    assert all(len(set(group)) == 1 for group in groups)
    assert len({group[0] for group in groups}) > 1
    for name, p in policy.named_parameters():
        assert torch.equal(p, before[name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be positive, got 0"),
        ({"n_prompts": -1}, "n_prompts must be positive, got -1"),
        ({"updates": 0}, "updates must be positive, got 0"),
        ({"group_size": 1}, "two answers to compare, got 1"),
        ({"beta": math.nan}, "beta must not be negative, got nan"),
    ],
)
def test_bad_settings_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAN, **change)
