"""Scaled dot-product attention and its masks."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def causal_mask(
    n_queries: int, n_keys: int | None = None, device: torch.device | str | None = None
) -> Bool[Tensor, "T S"]:
    """True where a query may look: at its own position and those before it.

    The queries are the last `n_queries` of `n_keys` positions, so that a query decoded with
    a KV cache sees all that came before it. `n_keys` is `n_queries` if not given.

    Raises ValueError if there are more queries than keys.
    """
    n_keys = n_queries if n_keys is None else n_keys
    if not 0 <= n_queries <= n_keys:
        raise ValueError(f"need 0 ≤ n_queries ≤ n_keys, got {n_queries} and {n_keys}")
    everywhere = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
    return everywhere.tril(diagonal=n_keys - n_queries)


def window_mask(
    n_queries: int,
    window: int,
    n_keys: int | None = None,
    device: torch.device | str | None = None,
) -> Bool[Tensor, "T S"]:
    """True where a query may look: at itself and the `window` - 1 positions before it.

    Sliding-window attention: Beltagy et al. 2020, §3.1 (arXiv:2004.05150). After L layers a
    token can know of L · (window - 1) positions before it.

    Raises ValueError if the window is under 1, or there are more queries than keys.
    """
    if window < 1:
        raise ValueError(f"window must be at least 1, got {window}")
    mask = causal_mask(n_queries, n_keys, device)
    return mask & ~mask.tril(diagonal=mask.size(1) - n_queries - window)


def scaled_dot_product_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S Dv"],
    mask: Bool[Tensor, "*#lead T S"] | None = None,
) -> tuple[Float[Tensor, "B H T Dv"], Float[Tensor, "B H T S"]]:
    """Mix values by how well each query matches each key.

    softmax(q kᵀ / √D) v: Vaswani et al. 2017, eq. 1 (arXiv:1706.03762).

    `mask` is True where a query may look. S = T in self-attention; S > T when decoding with
    a KV cache. Returns the mixed values and the weights, whose rows sum to 1.

    Raises ValueError if q and k differ in head size.
    """
    if q.size(-1) != k.size(-1):
        raise ValueError(f"q and k need equal head size, got {q.size(-1)} and {k.size(-1)}")
    # Without 1/√D the scores grow with D and softmax saturates (§3.2.1).
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.size(-1))  # (B, H, T, S)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = scores.softmax(dim=-1)
    return weights @ v, weights
