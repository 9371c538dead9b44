"""What a policy writes, how probable it found that, and how far it is from where it began."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from tutor_lib.adapt.sft import Example, pack
from tutor_lib.device import widened
from tutor_lib.model.decoder import Decoder
from tutor_lib.predict.generate import generate, pad_left
from tutor_lib.train.loss import IGNORED

RewardFunction = Callable[[Sequence[Example]], Sequence[float] | Tensor]  # a number an answer


@dataclass(frozen=True)
class Task:
    """What the policy is asked, how long it may answer, what ends an answer, what it earns.

    Raises ValueError if there is no prompt.
    """

    prompts: Sequence[Sequence[int]]
    reward: RewardFunction
    max_new_tokens: int
    end: int  # the id of end-of-text

    def __post_init__(self) -> None:
        if not len(self.prompts):
            raise ValueError("there are no prompts")

    def draw(self, n: int, generator: torch.Generator) -> list[Sequence[int]]:
        """n prompts, each drawn from all."""
        size, device = (n,), generator.device
        picked = torch.randint(len(self.prompts), size, generator=generator, device=device)
        return [self.prompts[i] for i in picked.tolist()]


@dataclass(frozen=True)
class Rollout:
    """A batch of answers, with the log-probability of each token when it was drawn.

    Position t holds what belongs to token t + 1, as in `pack`; it is 0 outside the answers.
    """

    examples: list[Example]
    ids: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    log_p: Float[Tensor, "B T"]
    reference_log_p: Float[Tensor, "B T"]
    rewards: Float[Tensor, "B"]

    @property
    def mask(self) -> Bool[Tensor, "B T"]:
        """True where a token of the answer is predicted."""
        return self.targets != IGNORED

    @property
    def kl(self) -> float:
        """KL(policy ‖ reference) in nats an answer, estimated by k1."""
        return k1(self.log_p, self.reference_log_p).sum(1).mean().item()


def frozen_copy(model: Decoder) -> Decoder:
    """The model as it is now, which no training changes."""
    return copy.deepcopy(model).eval().requires_grad_(False)


def sample(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    end: int,
    generator: torch.Generator,
) -> list[Example]:
    """An answer to each prompt, drawn from the model as it is, at temperature 1.

    It ends with the first `end`, or without one after `max_new_tokens`.

    Raises ValueError as `pad_left` and `generate` do.
    """
    ids, padding = (x.to(generator.device) for x in pad_left(prompts))
    tokens = generate(
        model, ids, max_new_tokens, generator=generator, stop_token=end, padding=padding
    )
    rows = torch.stack([*tokens], dim=1).tolist()
    lengths = [row.index(end) + 1 if end in row else len(row) for row in rows]
    return [
        Example(tuple(prompt), tuple(row[:length]))
        for prompt, row, length in zip(prompts, rows, lengths, strict=True)
    ]


def roll_out(
    policy: Decoder,
    reference: Decoder,
    task: Task,
    prompts: Sequence[Sequence[int]],
    generator: torch.Generator,
) -> Rollout:
    """Let the policy answer, and both models and the reward judge what it wrote.

    The generator lives on the models' device, here and wherever one draws answers.

    Raises ValueError as `sample`, `pack` and `rewards_of` do.
    """
    examples = sample(policy, prompts, task.max_new_tokens, task.end, generator)
    ids, targets = pack(examples, policy.config.context_length, generator.device)
    with torch.no_grad():
        log_p, reference_log_p = (
            token_log_probs(model(ids), targets) for model in (policy, reference)
        )
    rewards = rewards_of(task.reward, examples).to(log_p)
    return Rollout(examples, ids, targets, log_p, reference_log_p, rewards)


def rewards_of(reward: RewardFunction, examples: Sequence[Example]) -> Float[Tensor, "B"]:
    """What `reward` gives each answer.

    Raises ValueError unless that is one finite number an answer.
    """
    rewards = torch.as_tensor(reward(examples), dtype=torch.float32)
    if rewards.shape != (len(examples),):
        raise ValueError(f"rewards of shape {tuple(rewards.shape)} for {len(examples)} answers")
    if (bad := (~rewards.isfinite()).nonzero()).numel():
        i = int(bad[0])
        raise ValueError(f"the reward of answer {i} is {rewards[i].item()}")
    return rewards


def token_log_probs(
    logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """log p(target) at each position, in nats; 0 where there is no target.

    A row's sum is the log-probability of its whole answer.
    """
    flat = widened(logits).flatten(0, 1)
    losses = F.cross_entropy(flat, targets.flatten(), ignore_index=IGNORED, reduction="none")
    return -losses.view_as(targets)


def masked_mean(x: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The mean of x where the mask is True.

    Raises ValueError if it is True nowhere.
    """
    if not mask.any():
        raise ValueError(f"the mask of shape {tuple(mask.shape)} leaves nothing to average")
    return x.where(mask, 0.0).sum() / mask.sum()


def k1(log_p: Float[Tensor, "*n"], log_q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """log p - log q: the mean over draws from p is KL(p ‖ q), in nats; single ones may be < 0.

    This and the next two: Schulman 2020, "Approximating KL divergence", joschu.net/blog.
    """
    return log_p - log_q


def k2(log_p: Float[Tensor, "*n"], log_q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """½ (log p - log q)²: never negative and less noisy, but biased."""
    return (log_p - log_q).square() / 2


def k3(log_p: Float[Tensor, "*n"], log_q: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """q/p - 1 - log q/p: unbiased like k1, never negative like k2."""
    return torch.expm1(log_q - log_p) - (log_q - log_p)


def exact_kl(
    logits_p: Float[Tensor, "*n V"], logits_q: Float[Tensor, "*n V"]
) -> Float[Tensor, "*n"]:
    """KL(p ‖ q) = Σ p (log p - log q) over the vocabulary, in nats."""
    log_p, log_q = (widened(logits).log_softmax(-1) for logits in (logits_p, logits_q))
    # A token that p never draws counts 0, not 0 · ∞.
    return torch.where(log_p.exp() > 0, log_p.exp() * (log_p - log_q), 0.0).sum(-1)
