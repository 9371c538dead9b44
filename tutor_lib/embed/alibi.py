"""Attention with linear biases: no positions in the vectors, distance in the scores."""

import torch
from jaxtyping import Float
from torch import Tensor


def alibi_slopes(n_heads: int) -> Float[Tensor, "H"]:
    """One slope m_h for each head: 2^(-8h/H), h = 1 … H, if H is a power of 2.

    For other H, those of the next smaller power of 2, then every other one of its double:
    Press et al. 2021, §3 (arXiv:2108.12409) and its authors' code.

    Raises ValueError if n_heads < 1.
    """
    if n_heads < 1:
        raise ValueError(f"n_heads must be at least 1, got {n_heads}")
    power = 2 ** (n_heads.bit_length() - 1)
    slopes = 2.0 ** (-8 / power * torch.arange(1, power + 1))
    between = 2.0 ** (-4 / power * torch.arange(1, 2 * power, 2))
    return torch.cat((slopes, between))[:n_heads]


def alibi_bias(n_heads: int, n_queries: int, n_keys: int | None = None) -> Float[Tensor, "H T S"]:
    """-m_h · (how far key j lies behind query i), to be added to the scores.

    The queries are the last `n_queries` of `n_keys` positions (as many as queries if None).
    Keys after the query are not penalised: a causal mask hides them.

    Raises ValueError if there are more queries than keys.
    """
    n_keys = n_queries if n_keys is None else n_keys
    if not 0 <= n_queries <= n_keys:
        raise ValueError(f"need 0 ≤ n_queries ≤ n_keys, got {n_queries} and {n_keys}")
    queries = torch.arange(n_keys - n_queries, n_keys)
    behind = (queries[:, None] - torch.arange(n_keys)).clamp(min=0)
    return -alibi_slopes(n_heads)[:, None, None] * behind
