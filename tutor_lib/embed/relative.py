"""Relative positions in buckets: near ones one by one, far ones by the logarithm, as in T5."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def distance_buckets(
    distance: Int[Tensor, "*shape"], n_buckets: int, max_distance: int
) -> Int[Tensor, "*shape"]:
    """The bucket of each distance d ≥ 0: one for each small d, wider and wider ones after.

    d if d < n/2, else min(n - 1, n/2 + ⌊n/2 · log(d / (n/2)) / log(max_distance / (n/2))⌋), for
    n buckets: Raffel et al. 2019, §2.1 (arXiv:1910.10683), and the code released with it.

    Raises ValueError if `n_buckets` is odd or under 2, or `max_distance` ≤ n/2.
    """
    check_buckets(n_buckets, max_distance)
    exact = n_buckets // 2
    # In float32 whatever the model's dtype: a trained table knows where its rounding put the edges.
    share = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = exact + (share * exact).long()
    return torch.where(distance < exact, distance, far.clamp(max=n_buckets - 1))


class RelativeBias(nn.Module):
    """A trained number for each head and bucket, added to the scores; it looks both ways.

    Half of the buckets are for keys after the query. One table serves all layers of a stack:
    Raffel et al. 2019, §2.1.

    Raises ValueError if the buckets cannot be halved twice, or `max_distance` is too small.
    """

    def __init__(self, n_heads: int, n_buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        check_buckets(n_buckets, max_distance)
        if n_buckets % 4:
            raise ValueError(f"n_buckets must be a multiple of 4, got {n_buckets}")
        self.max_distance = max_distance
        self.table = nn.Embedding(n_buckets, n_heads)

    def forward(self, n_queries: int, n_keys: int | None = None) -> Float[Tensor, "H T S"]:
        """The bias for the last `n_queries` of `n_keys` positions (as many as queries if None).

        Raises ValueError if there are more queries than keys.
        """
        n_keys = n_queries if n_keys is None else n_keys
        if not 0 <= n_queries <= n_keys:
            raise ValueError(f"need 0 ≤ n_queries ≤ n_keys, got {n_queries} and {n_keys}")
        keys = torch.arange(n_keys, device=self.table.weight.device)
        behind = keys[n_keys - n_queries :, None] - keys  # how far a key lies behind its query
        return self.table(self.buckets(behind)).permute(2, 0, 1)

    def buckets(self, behind: Int[Tensor, "T S"]) -> Int[Tensor, "T S"]:
        """Keys up to the query in the first half of the buckets, those after it in the other."""
        half = self.table.num_embeddings // 2
        return distance_buckets(behind.abs(), half, self.max_distance) + half * (behind < 0)


class CausalRelativeBias(RelativeBias):
    """The same with all buckets for the past: what lies ahead is hidden by the mask."""

    def buckets(self, behind: Int[Tensor, "T S"]) -> Int[Tensor, "T S"]:
        """Keys after the query count as its own place."""
        return distance_buckets(behind.clamp(min=0), self.table.num_embeddings, self.max_distance)


def check_buckets(n_buckets: int, max_distance: int) -> None:
    """Raise ValueError unless `n_buckets` is even, at least 2, and `max_distance` over its half."""
    if n_buckets < 2 or n_buckets % 2:
        raise ValueError(f"n_buckets must be even and at least 2, got {n_buckets}")
    if max_distance <= n_buckets // 2:
        raise ValueError(f"max_distance must be over {n_buckets // 2}, got {max_distance}")
