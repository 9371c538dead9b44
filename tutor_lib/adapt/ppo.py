"""PPO for language: a policy climbs a reward in small steps and does not stray from its start."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tutor_lib.adapt.climb import Step, climb
from tutor_lib.adapt.fit import descend
from tutor_lib.adapt.reward import ScalarModel
from tutor_lib.adapt.rollout import Rollout, Task, masked_mean, token_log_probs
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.trainer import make_optimizer


@dataclass(frozen=True)
class PPO:
    """The settings. Raises ValueError if one is out of its range."""

    steps: int
    batch: int  # answers a step
    learning_rate: float
    beta: float  # reward lost for each nat away from the reference
    updates: int = 2  # of the weights, for each batch of answers
    clip: float = 0.2  # ε, of ratios and of values
    discount: float = 1.0  # γ
    trace: float = 0.95  # λ

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "learning_rate", "updates", "clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not self.beta >= 0:
            raise ValueError(f"beta must not be negative, got {self.beta}")
        for name in ("discount", "trace"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {getattr(self, name)}")


def penalised_rewards(
    rewards: Float[Tensor, "B"],
    log_p: Float[Tensor, "B T"],
    reference_log_p: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    beta: float,
) -> Float[Tensor, "B T"]:
    """-β (log π - log π_ref) for each token of the answer, and the reward with the last one.

    Their sum is what Ouyang et al. 2022 maximise, eq. 2 without its second term
    (arXiv:2203.02155).
    """
    penalty = -beta * (log_p - reference_log_p).where(mask, 0.0)
    last = mask & (mask.flip(1).cumsum(1).flip(1) == 1)
    return penalty + last * rewards[:, None]


def generalized_advantages(
    rewards: Float[Tensor, "B T"],
    values: Float[Tensor, "B T"],
    mask: Bool[Tensor, "B T"],
    discount: float,
    trace: float,
) -> Float[Tensor, "B T"]:
    """How much better each token was than expected: Σ_l (γλ)^l δ_{t+l}, 0 outside the answers.

    δ_t = r_t + γ V_{t+1} - V_t, with V = 0 after the answer's last token: Schulman et al. 2015,
    eq. 16 (arXiv:1506.02438). λ = 0 trusts the values; λ = 1 trusts the rewards alone, and is
    the discounted return less V_t. `values` are before the token is drawn.
    """
    values = values.where(mask, 0.0)
    advantages = torch.zeros_like(values)
    later = next_value = values.new_zeros(len(values))
    for t in reversed(range(values.size(1))):
        delta = rewards[:, t] + discount * next_value - values[:, t]
        later = (delta + discount * trace * later).where(mask[:, t], 0.0)
        advantages[:, t], next_value = later, values[:, t]
    return advantages


def whitened(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """x with mean 0 and variance 1 over the mask, and 0 outside it."""
    centred = (x - masked_mean(x, mask)).where(mask, 0.0)
    return centred / (masked_mean(centred.square(), mask).sqrt() + 1e-8)


def clipped_loss(
    log_p: Float[Tensor, "B T"],
    old_log_p: Float[Tensor, "B T"],
    advantages: Float[Tensor, "B T"],
    clip: float,
) -> Float[Tensor, "B T"]:
    """-min(ρ A, clip(ρ, 1 - ε, 1 + ε) A), ρ = π / π_old: a token's gain ends where ρ has moved ε.

    Schulman et al. 2017, eq. 7 (arXiv:1707.06347). At ρ = 1 its gradient is the policy
    gradient's, -A ∇log π.
    """
    ratio = (log_p - old_log_p).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def clipped_value_loss(
    values: Float[Tensor, "B T"],
    old_values: Float[Tensor, "B T"],
    returns: Float[Tensor, "B T"],
    clip: float,
) -> Float[Tensor, "B T"]:
    """½ max((V - R)², (V_old + clip(V - V_old, -ε, ε) - R)²).

    Not in the paper but in its authors' code (OpenAI Baselines), and in most since.
    """
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum((values - returns).square(), (near - returns).square()) / 2


def ppo(
    policy: Decoder,
    value: ScalarModel,
    reference: Decoder,
    task: Task,
    plan: PPO,
    generator: torch.Generator,
) -> Iterator[Step]:
    """Train the policy, and the values that it is measured by; yield each step as it is made.

    Raises ValueError if a reward or a loss is not finite, or as `roll_out` does.
    """
    optimizer = make_optimizer(policy, plan.learning_rate, weight_decay=0.0)
    value_optimizer = make_optimizer(value, plan.learning_rate, weight_decay=0.0)

    def update(made: Rollout) -> list[float]:
        losses = []
        for gain, miss in _losses(policy, value, made, plan):
            losses.append(descend(optimizer, gain))
            descend(value_optimizer, miss)
        return losses

    return climb(policy, reference, task, update, plan.steps, plan.batch, 1, generator)


def _losses(
    policy: Decoder, value: ScalarModel, made: Rollout, plan: PPO
) -> Iterator[tuple[Tensor, Tensor]]:
    """The policy's loss and the values' on these answers, anew after each update."""
    mask = made.mask
    rewards = penalised_rewards(made.rewards, made.log_p, made.reference_log_p, mask, plan.beta)
    with torch.no_grad():
        old_values = value(made.ids)
    advantages = generalized_advantages(rewards, old_values, mask, plan.discount, plan.trace)
    returns = advantages + old_values
    advantages = whitened(advantages, mask)
    for _ in range(plan.updates):
        log_p = token_log_probs(policy(made.ids), made.targets)
        gain = clipped_loss(log_p, made.log_p, advantages, plan.clip)
        miss = clipped_value_loss(value(made.ids), old_values, returns, plan.clip)
        yield masked_mean(gain, mask), masked_mean(miss, mask)
