"""What later models put between the dot products and the softmax, and the fused kernel."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

Mask = Bool[Tensor, "*#lead T S"] | Float[Tensor, "*#lead T S"]


@dataclass(frozen=True)
class ScoredAttention:
    """softmax(cap(scale · q kᵀ) + mask) v, called as `scaled_dot_product_attention` is.

    `scale` is 1/√D if None; T5 has 1, Gemma 2 a number of its own. `softcap` c bends scores
    into (-c, c) by c · tanh(s / c): Gemma 2, §2 (arXiv:2408.00118). The mask may hold
    numbers instead of truth values: a bias that is added, such as ALiBi's or T5's.

    Raises ValueError if `scale` or `softcap` is not positive.
    """

    scale: float | None = None
    softcap: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("scale", self.scale), ("softcap", self.softcap)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")

    def __call__(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        v: Float[Tensor, "B H S Dv"],
        mask: Mask | None = None,
    ) -> tuple[Float[Tensor, "B H T Dv"], Float[Tensor, "B H T S"]]:
        """The mixed values and the weights.

        Raises ValueError if q and k differ in head size.
        """
        weights = self.scores(q, k, mask).softmax(dim=-1)
        return weights @ v, weights

    def scores(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B H S D"],
        mask: Mask | None = None,
    ) -> Float[Tensor, "B H T S"]:
        """What the softmax is taken of: scaled, capped and masked.

        Raises ValueError if q and k differ in head size.
        """
        if q.size(-1) != k.size(-1):
            raise ValueError(f"q and k need equal head size, got {q.size(-1)} and {k.size(-1)}")
        scale = q.size(-1) ** -0.5 if self.scale is None else self.scale
        return add_mask(softcap(scale * (q @ k.transpose(-2, -1)), self.softcap), mask)

    def fused(
        self,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B K S D"],
        v: Float[Tensor, "B K S Dv"],
        mask: Mask | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "B H T Dv"]:
        """The mixed values alone, by PyTorch's fused kernel; K heads serve H queries' heads.

        The weights are never stored, as in `tutor_lib.attention.flash`. `causal` (with T = S)
        stands for a causal mask. The kernel knows no soft-cap: with one, this is the plain way.
        """
        grouped = q.size(1) != k.size(1)
        if self.softcap is None:
            return F.scaled_dot_product_attention(
                q, k, v, attn_mask=mask, is_causal=causal, scale=self.scale, enable_gqa=grouped
            )
        if causal:
            mask = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool, device=q.device).tril()
        group = q.size(1) // k.size(1)
        return self(q, k.repeat_interleave(group, 1), v.repeat_interleave(group, 1), mask)[0]


def softcap(scores: Float[Tensor, "*shape"], cap: float | None) -> Float[Tensor, "*shape"]:
    """c · tanh(s / c): almost s where s is small, never over c. `scores` as they are if None."""
    return scores if cap is None else cap * torch.tanh(scores / cap)


def add_mask(scores: Float[Tensor, "B H T S"], mask: Mask | None) -> Float[Tensor, "B H T S"]:
    """Hide what a truth-valued mask hides, add a mask of numbers."""
    if mask is None:
        return scores
    if mask.dtype == torch.bool:
        return scores.masked_fill(~mask, float("-inf"))
    return scores + mask
