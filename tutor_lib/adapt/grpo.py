"""GRPO: answers to one prompt are measured by each other, so that no value function is needed."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tutor_lib.adapt.climb import Step, climb
from tutor_lib.adapt.fit import descend
from tutor_lib.adapt.ppo import clipped_loss
from tutor_lib.adapt.rollout import Rollout, Task, k3, token_log_probs
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.trainer import make_optimizer


@dataclass(frozen=True)
class GRPO:
    """The settings. Raises ValueError if one is out of its range."""

    steps: int
    n_prompts: int  # a step
    group_size: int  # G answers to each of them
    learning_rate: float
    beta: float  # weight of the KL divergence from the reference
    updates: int = 1  # of the weights, for each batch of answers
    clip: float = 0.2  # ε

    def __post_init__(self) -> None:
        for name in ("steps", "n_prompts", "learning_rate", "updates", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.group_size < 2:
            raise ValueError(f"a group needs two answers to compare, got {self.group_size}")
        if not self.beta >= 0:
            raise ValueError(f"beta must not be negative, got {self.beta}")


def group_advantages(rewards: Float[Tensor, "N G"]) -> Float[Tensor, "N G"]:
    """(r - mean) / std within each group: Shao et al. 2024, §4.1.2 (arXiv:2402.03300).

    A group whose answers earned the same teaches nothing: its advantages are 0.
    """
    std = rewards.std(dim=1, correction=0, keepdim=True)
    same = (rewards == rewards[:, :1]).all(1, keepdim=True)
    # Rounding can leave a std of 1e-8 where all are equal.
    return ((rewards - rewards.mean(1, keepdim=True)) / std).masked_fill(same, 0.0)


def grpo_loss(
    log_p: Float[Tensor, "B T"],
    old_log_p: Float[Tensor, "B T"],
    reference_log_p: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B"],
    mask: Bool[Tensor, "B T"],
    clip: float,
    beta: float,
) -> Float[Tensor, ""]:
    """PPO's clipped loss plus β KL(π ‖ π_ref) by k3: Shao et al. 2024, eq. 3 and 4.

    Each token of an answer has the answer's advantage. Averaged over the answer's tokens, then
    over the answers.
    """
    terms = clipped_loss(log_p, old_log_p, advantages[:, None].expand_as(log_p), clip)
    terms = (terms + beta * k3(log_p, reference_log_p)).where(mask, 0.0)
    return (terms.sum(1) / mask.sum(1)).mean()


def grpo(
    policy: Decoder,
    reference: Decoder,
    task: Task,
    plan: GRPO,
    generator: torch.Generator,
) -> Iterator[Step]:
    """Train the policy; yield each step as it is made.

    Raises ValueError if a reward or a loss is not finite, or as `roll_out` does.
    """
    optimizer = make_optimizer(policy, plan.learning_rate, weight_decay=0.0)

    def update(made: Rollout) -> list[float]:
        return [descend(optimizer, loss) for loss in _losses(policy, made, plan)]

    sizes = (plan.steps, plan.n_prompts, plan.group_size)
    return climb(policy, reference, task, update, *sizes, generator)


def _losses(policy: Decoder, made: Rollout, plan: GRPO) -> Iterator[Tensor]:
    """The loss on this batch of answers, anew after each update of the weights."""
    advantages = group_advantages(made.rewards.view(-1, plan.group_size)).flatten()
    for _ in range(plan.updates):
        log_p = token_log_probs(policy(made.ids), made.targets)
        yield grpo_loss(
            log_p, made.log_p, made.reference_log_p, advantages, made.mask, plan.clip, plan.beta
        )
