"""Direct preference optimisation: learn from comparisons without a reward model or sampling."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tutor_lib.adapt.fit import Fit, chunks, fit
from tutor_lib.adapt.reward import Preference
from tutor_lib.adapt.rollout import token_log_probs
from tutor_lib.adapt.sft import Example, pack
from tutor_lib.model.decoder import Decoder


def implicit_reward(
    log_p: Float[Tensor, "B"], reference_log_p: Float[Tensor, "B"], beta: float
) -> Float[Tensor, "B"]:
    """β (log π(y|x) - log π_ref(y|x)): the reward for which π is the best policy.

    Up to a term that the prompt alone decides: Rafailov et al. 2023, eq. 5 (arXiv:2305.18290).
    """
    return beta * (log_p - reference_log_p)


def dpo_loss(
    chosen: Float[Tensor, "B"],
    rejected: Float[Tensor, "B"],
    reference_chosen: Float[Tensor, "B"],
    reference_rejected: Float[Tensor, "B"],
    beta: float,
) -> Float[Tensor, ""]:
    """-log σ(r_w - r_l) of the implicit rewards, averaged: Rafailov et al. 2023, eq. 7.

    Arguments are log-probabilities of whole answers, in nats. At π = π_ref it is log 2.

    Raises ValueError unless β > 0.
    """
    if not beta > 0:
        raise ValueError(f"beta must be positive, got {beta}")
    better = implicit_reward(chosen, reference_chosen, beta)
    worse = implicit_reward(rejected, reference_rejected, beta)
    return -F.logsigmoid(better - worse).mean()


@dataclass(frozen=True)
class Judged:
    """A pair, and what the reference model finds its answers' log-probabilities to be."""

    pair: Preference
    chosen: float
    rejected: float


def answer_log_probs(model: Decoder, examples: Sequence[Example]) -> Float[Tensor, "B"]:
    """log π(answer | prompt), summed over the answer's tokens, in nats.

    Raises ValueError as `pack` does.
    """
    ids, targets = pack(examples, model.config.context_length, model.embedding.weight.device)
    return token_log_probs(model(ids), targets).sum(1)


@torch.no_grad()
def judged(reference: Decoder, pairs: Sequence[Preference]) -> list[Judged]:
    """The reference's part of the loss, which stays as it is and is needed once."""
    found: list[Judged] = []
    for some in chunks(pairs, 64):
        chosen = answer_log_probs(reference, [pair.chosen for pair in some]).tolist()
        rejected = answer_log_probs(reference, [pair.rejected for pair in some]).tolist()
        found += map(Judged, some, chosen, rejected)
    return found


def dpo(
    policy: Decoder,
    reference: Decoder,
    pairs: Sequence[Preference],
    plan: Fit,
    generator: torch.Generator,
    beta: float = 0.1,
) -> Iterator[float]:
    """Train the policy on pairs, drawn by `generator`; yield the loss of each step."""

    def loss_of(batch: Sequence[Judged]) -> Tensor:
        answers = [*(j.pair.chosen for j in batch), *(j.pair.rejected for j in batch)]
        log_p = answer_log_probs(policy, answers)
        reference_log_p = log_p.new_tensor(
            [*(j.chosen for j in batch), *(j.rejected for j in batch)]
        )
        (better, worse), (was_better, was_worse) = log_p.chunk(2), reference_log_p.chunk(2)
        return dpo_loss(better, worse, was_better, was_worse, beta)

    return fit(policy, loss_of, judged(reference, pairs), plan, generator)


@torch.no_grad()
def dpo_accuracy(policy: Decoder, pairs: Sequence[Judged]) -> float:
    """The share of pairs whose chosen answer has the higher implicit reward; β does not matter.

    Raises ValueError if there is no pair.
    """
    if not pairs:
        raise ValueError("there are no pairs to be right about")
    right = 0
    for j in pairs:
        chosen, rejected = answer_log_probs(policy, [j.pair.chosen, j.pair.rejected]).tolist()
        right += chosen - j.chosen > rejected - j.rejected
    return right / len(pairs)
