"""From logits to one token: greedy, temperature, top-k, top-p, min-p.

Each filter takes logits and returns logits, with -inf where a token is cut. `Sampler` chains
them in the order that Hugging Face uses: temperature, top-k, top-p, min-p.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


def greedy(logits: Float[Tensor, "B V"]) -> Int[Tensor, "B"]:
    """The most probable token of each row; of equals, the one with the smaller id."""
    return logits.argmax(dim=-1)


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


@dataclass(frozen=True)
class Sampler:
    """How to draw the next token. The defaults sample from the model as it is.

    `temperature` 0 means greedy. Raises ValueError if a setting is out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be finite and ≥ 0, got {self.temperature}")
        # The filters check their own settings: try them on one token.
        self._filter(torch.zeros(1, 1))

    def probabilities(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        """The distribution that `__call__` draws from."""
        if self.temperature == 0:
            return torch.nn.functional.one_hot(greedy(logits), logits.size(-1)).to(logits.dtype)
        return self._filter(logits / self.temperature).softmax(dim=-1)

    def __call__(
        self, logits: Float[Tensor, "B V"], generator: torch.Generator | None = None
    ) -> Int[Tensor, "B"]:
        """Draw one token for each row."""
        if self.temperature == 0:
            return greedy(logits)
        return torch.multinomial(self.probabilities(logits), 1, generator=generator).squeeze(-1)

    def _filter(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, "B V"]:
        if self.top_k is not None:
            logits = top_k(logits, self.top_k)
        return min_p(top_p(logits, self.top_p), self.min_p)
