"""PPO and GRPO on a task that they can solve: say as many sevens as you can."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pytest
import torch

from tutor_lib.adapt.climb import Step
from tutor_lib.adapt.grpo import GRPO, grpo
from tutor_lib.adapt.ppo import PPO, ppo
from tutor_lib.adapt.reward import ScalarModel
from tutor_lib.adapt.rollout import Task, frozen_copy
from tutor_lib.adapt.sft import Example
from tutor_lib.model.decoder import Decoder


class Method(NamedTuple):
    plan: PPO | GRPO
    dear: float  # a weight of the KL that keeps the policy near

    def __call__(
        self, policy: Decoder, reference: Decoder, task: Task, generator: torch.Generator
    ) -> Iterator[Step]:
        if isinstance(self.plan, GRPO):
            return grpo(policy, reference, task, self.plan, generator)
        return ppo(policy, ScalarModel(policy), reference, task, self.plan, generator)

    def but(self, **changes: float) -> "Method":
        return self._replace(plan=dataclasses.replace(self.plan, **changes))


@pytest.fixture(params=["ppo", "grpo"])
def method(request) -> Method:
    if request.param == "ppo":
        return Method(PPO(steps=30, batch=32, learning_rate=0.003, beta=0.01), dear=2.0)
    return Method(GRPO(30, n_prompts=4, group_size=8, learning_rate=0.003, beta=0.01), dear=5.0)


def sevens(answers: Sequence[Example]) -> list[float]:
    """The share of tokens that are 7."""
    return [e.answer.count(7) / len(e.answer) for e in answers]


def trained(decoder: Callable[[int], Decoder], method: Method, seed: int = 1):
    policy = decoder(5)
    reference = frozen_copy(policy)
    task = Task([(3, 1), (4,), (1, 5, 9)], sevens, 5, end=30)
    return reference, [*method(policy, reference, task, torch.Generator().manual_seed(seed))]


def test_the_reward_rises_and_the_reference_stays(decoder, method):
    before = decoder(5).state_dict()
    reference, steps = trained(decoder, method)
    assert abs(steps[0].kl) < 1e-6
    assert steps[0].reward < 0.15
    assert sum(s.reward for s in steps[-5:]) / 5 > 0.6
    assert steps[-1].kl > 5
    for name, tensor in reference.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_it_runs_where_the_model_is(decoder, method, place):
    policy = decoder(5).to(place.device, place.dtype)
    task = Task([(3, 1), (4,)], sevens, 5, end=30)
    generator = torch.Generator(place.device).manual_seed(1)
    steps = [*method.but(steps=2)(policy, frozen_copy(policy), task, generator)]
    assert abs(steps[0].kl) < 1e-6
    assert all(math.isfinite(step.loss) for step in steps)
    assert policy.embedding.weight.dtype == place.dtype


def test_a_dear_kl_keeps_the_policy_near(decoder, method):
    _, steps = trained(decoder, method.but(steps=8, beta=method.dear))
    assert max(step.kl for step in steps) < 2  # the free run's passes 5


def test_the_same_seed_trains_the_same_policy(decoder, method):
    first, again, other = (trained(decoder, method.but(steps=3), seed)[1] for seed in (1, 1, 2))
    assert first == again != other


def test_a_bad_reward_is_named(decoder, method):
    policy = decoder()
    for reward, message in [
        (lambda answers: [math.nan] * len(answers), "reward of answer 0 is nan"),
        (lambda answers: [1.0], r"rewards of shape \(1,\) for 32 answers"),
    ]:
        task = Task([(3, 1)], reward, 5, end=30)
        with pytest.raises(ValueError, match=message):
            next(method(policy, policy, task, torch.Generator()))
