"""A reward model: it learns from comparisons which of two answers people like better."""

import copy
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tutor_lib.adapt.fit import Fit, chunks, fit
from tutor_lib.adapt.sft import Example, pack
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.loss import IGNORED


@dataclass(frozen=True)
class Preference:
    """Two answers to one prompt, the better one first.

    Raises ValueError if the prompts differ.
    """

    chosen: Example
    rejected: Example

    def __post_init__(self) -> None:
        if self.chosen.prompt != self.rejected.prompt:
            raise ValueError(
                f"answers to different prompts: {self.chosen.prompt}, {self.rejected.prompt}"
            )


def preferences(
    answers: Sequence[Example], rewards: Sequence[float], margin: float = 0.0
) -> list[Preference]:
    """All pairs of answers to one prompt of which one earned more, by more than `margin`.

    K answers make up to K (K - 1) / 2 pairs: Ouyang et al. 2022, §3.5 (arXiv:2203.02155).

    Raises ValueError if there is not one reward an answer, or the prompts differ.
    """
    if len(answers) != len(rewards):
        raise ValueError(f"{len(rewards)} rewards for {len(answers)} answers")
    ranked = sorted(zip(rewards, answers, strict=True), key=lambda pair: -pair[0])
    return [
        Preference(better, worse)
        for (high, better), (low, worse) in itertools.combinations(ranked, 2)
        if high - low > margin
    ]


class ScalarModel(nn.Module):
    """A decoder that gives a number at each position instead of logits.

    Its body is a copy of `decoder`; a linear head, which begins at 0, reads the normalised
    vector. It is a reward model where the last token is read, and PPO's value function.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.body = copy.deepcopy(decoder)
        weight = decoder.embedding.weight
        self.head = nn.Linear(decoder.config.d_model, 1).to(weight.device, weight.dtype)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """The number at each position, which sees no later one.

        Raises ValueError if an id is outside the vocabulary or the text outgrows the context.
        """
        body = self.body
        body.check(ids, ids.size(1))
        x = body.embed(ids)  # (B, T, C)
        for block, mask in zip(body.blocks, body.masks(ids.size(1), None, None), strict=True):
            x = block(x, mask)
        return self.head(body.final_norm(x)).squeeze(-1)

    def scores(self, examples: Sequence[Example]) -> Float[Tensor, "B"]:
        """The number at each answer's last token.

        Raises ValueError as `pack` does.
        """
        device = self.head.weight.device
        ids, targets = pack(examples, self.body.config.context_length, device)
        return self(ids).gather(1, last_tokens(targets)[:, None]).squeeze(1)


def last_tokens(targets: Int[Tensor, "B T"]) -> Int[Tensor, "B"]:
    """Where each answer's last token stands: one after the last position with a target."""
    places = torch.arange(1, targets.size(1) + 1, device=targets.device)
    return ((targets != IGNORED) * places).amax(1)


def preference_loss(chosen: Float[Tensor, "B"], rejected: Float[Tensor, "B"]) -> Float[Tensor, ""]:
    """-log σ(r_w - r_l), averaged: how surprising the choices are if rewards explain them.

    Bradley and Terry's model, in which w is preferred to l with probability σ(r_w - r_l):
    Christiano et al. 2017, eq. 1 (arXiv:1706.03741); Ouyang et al. 2022, eq. 1
    (arXiv:2203.02155). A constant added to both rewards changes nothing.
    """
    return -F.logsigmoid(chosen - rejected).mean()


def train_reward_model(
    model: ScalarModel, pairs: Sequence[Preference], plan: Fit, generator: torch.Generator
) -> Iterator[float]:
    """Train on pairs, drawn by `generator`; yield the loss of each step."""

    def loss_of(batch: Sequence[Preference]) -> Tensor:
        answers = [*(p.chosen for p in batch), *(p.rejected for p in batch)]
        chosen, rejected = model.scores(answers).chunk(2)
        return preference_loss(chosen, rejected)

    return fit(model, loss_of, pairs, plan, generator)


@torch.no_grad()
def accuracy(model: ScalarModel, pairs: Sequence[Preference]) -> float:
    """The share of pairs whose chosen answer gets the higher score.

    Raises ValueError if there is no pair.
    """
    if not pairs:
        raise ValueError("there are no pairs to be right about")
    right = [
        model.scores([pair.chosen for pair in some])
        > model.scores([pair.rejected for pair in some])
        for some in chunks(pairs, 64)
    ]
    return torch.cat(right).float().mean().item()
