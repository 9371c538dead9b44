"""From logits to one token: greedy, repetition penalty, temperature, and four cuts of the tail.

Each filter takes logits and returns logits, with -inf where a token is cut. `Sampler` chains
them in the order that Hugging Face uses: repetition penalty, temperature, top-k, top-p, min-p,
typical.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.device import widened


def greedy(logits: Float[Tensor, "B V"]) -> Int[Tensor, "B"]:
    """The most probable token of each row; of equals, the one with the smaller id."""
    return logits.argmax(dim=-1)


def draw(
    probabilities: Float[Tensor, "B V"], generator: torch.Generator | None = None
) -> Int[Tensor, "B"]:
    """Draw one token for each row of probabilities."""
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def repetition_penalty(
    logits: Float[Tensor, "B V"], ids: Int[Tensor, "B S"], penalty: float
) -> Float[Tensor, "B V"]:
    """Make tokens that are among the row's `ids` already less likely, if `penalty` > 1.

    z / θ where z is positive, z · θ where it is negative: Keskar et al. 2019, §4.1
    (arXiv:1909.05858), who divide; a negative score must be multiplied to become smaller.
    How often a token stood there does not matter.

    Raises ValueError unless 0 < penalty < ∞, or if an id is outside the vocabulary.
    """
    if not 0 < penalty < math.inf:
        raise ValueError(f"repetition_penalty must be finite and positive, got {penalty}")
    outside = ids[(ids < 0) | (ids >= logits.size(-1))]
    if outside.numel():
        raise ValueError(f"token id {int(outside[0])} is outside 0…{logits.size(-1) - 1}")
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, penalised, logits)


def top_k(logits: Float[Tensor, "B V"], k: int) -> Float[Tensor, "B V"]:
    """Keep the k largest logits, and those equal to the k-th.

    Fan et al. 2018 (arXiv:1805.04833).

    Raises ValueError if k < 1.
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1, got {k}")
    kth = logits.topk(min(k, logits.size(-1))).values[:, -1:]
    return logits.masked_fill(logits < kth, float("-inf"))


def top_p(logits: Float[Tensor, "B V"], p: float) -> Float[Tensor, "B V"]:
    """Keep the smallest set of tokens whose probabilities sum to at least p: the nucleus.

    Holtzman et al. 2020, §3.1 (arXiv:1904.09751). The most probable token always stays.

    Raises ValueError unless 0 < p ≤ 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must lie in (0, 1], got {p}")
    if p == 1:  # In a large vocabulary the rounded sum reaches 1 before the last token.
        return logits
    probabilities, order = logits.softmax(dim=-1).sort(descending=True, stable=True)
    before = probabilities.cumsum(dim=-1) - probabilities
    cut = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, order, before >= p)
    return logits.masked_fill(cut, float("-inf"))


def min_p(logits: Float[Tensor, "B V"], p: float) -> Float[Tensor, "B V"]:
    """Keep tokens at least p times as probable as the most probable one.

    Nguyen et al. 2024 (arXiv:2407.01082). Raises ValueError unless 0 ≤ p ≤ 1.
    """
    if not 0 <= p <= 1:
        raise ValueError(f"min_p must lie in [0, 1], got {p}")
    probabilities = logits.softmax(dim=-1)
    threshold = p * probabilities.amax(dim=-1, keepdim=True)
    return logits.masked_fill(probabilities < threshold, float("-inf"))


def typical_p(logits: Float[Tensor, "B V"], p: float) -> Float[Tensor, "B V"]:
    """Keep the tokens whose surprise is nearest to the expected one, until they hold p.

    Tokens in order of |−log p_i − H|, H = −Σ p_i log p_i the entropy: Meister et al. 2022
    (arXiv:2202.00666). The most probable token may go. Those as near as the last one stay.

    Raises ValueError unless 0 < p ≤ 1.
    """
    if not 0 < p <= 1:
        raise ValueError(f"typical_p must lie in (0, 1], got {p}")
    if p == 1:
        return logits
    log_probabilities = logits.log_softmax(dim=-1)
    probabilities = log_probabilities.exp()
    entropy = torch.special.entr(probabilities).sum(dim=-1, keepdim=True)
    distance = (log_probabilities + entropy).abs()
    nearest, order = distance.sort(dim=-1, stable=True)
    mass = probabilities.gather(-1, order).cumsum(dim=-1)
    last = (mass < p).sum(dim=-1, keepdim=True).clamp(max=logits.size(-1) - 1)
    return logits.masked_fill(distance > nearest.gather(-1, last), float("-inf"))


@dataclass(frozen=True)
class Sampler:
    """How to draw the next token. The defaults sample from the model as it is.

    `temperature` 0 means greedy. Raises ValueError if a setting is out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be finite and ≥ 0, got {self.temperature}")
        # The filters check their own settings: try them on one token.
        one_token = torch.zeros(1, 1)
        self._filter(repetition_penalty(one_token, one_token.long(), self.repetition_penalty))

    @property
    def looks_back(self) -> bool:
        """Whether the text so far matters, beside the logits."""
        return self.repetition_penalty != 1

    def probabilities(
        self, logits: Float[Tensor, "B V"], ids: Int[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B V"]:
        """The distribution that `__call__` draws from, in float32 or better.

        Raises ValueError if `ids`, the text so far, is None and repetition penalised.
        """
        logits = self._penalise(logits, ids)
        if self.temperature == 0:
            return torch.nn.functional.one_hot(greedy(logits), logits.size(-1)).to(logits.dtype)
        return self._filter(logits / self.temperature).softmax(dim=-1)

    def __call__(
        self,
        logits: Float[Tensor, "B V"],
        generator: torch.Generator | None = None,
        ids: Int[Tensor, "B S"] | None = None,
    ) -> Int[Tensor, "B"]:
        """Draw one token for each row, whose text so far is `ids`."""
        if self.temperature == 0:
            return greedy(self._penalise(logits, ids))
        return draw(self.probabilities(logits, ids), generator)

    def _penalise(
        self, logits: Float[Tensor, "B V"], ids: Int[Tensor, "B S"] | None
    ) -> Float[Tensor, "B V"]:
        logits = widened(logits)
        if not self.looks_back:
            return logits
        if ids is None:
            raise ValueError(f"repetition_penalty={self.repetition_penalty} needs the ids so far")
        return repetition_penalty(logits, ids, self.repetition_penalty)

    def _filter(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        if self.top_k is not None:
            logits = top_k(logits, self.top_k)
        return typical_p(min_p(top_p(logits, self.top_p), self.min_p), self.typical_p)
