"""Relative positions in buckets: near ones one by one, far ones by the logarithm, as in T5."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def distance_buckets(
    distance: Int[Tensor, "*shape"], exact: int, max_distance: int
) -> Int[Tensor, "*shape"]:
    """The bucket of each distance d, of 2e: one for each d < e = `exact`, then wider and wider.

    d if d < e, else min(2e - 1, e + ⌊e · log(d / e) / log(max_distance / e)⌋): Raffel et al.
    2019, §2.1 (arXiv:1910.10683), and the code released with it. A d under 0 counts as 0.

    Raises ValueError unless 1 ≤ exact < max_distance.
    """
    if not 1 <= exact < max_distance:
        raise ValueError(f"need 1 ≤ exact < max_distance, got {exact} and {max_distance}")
    # In float32 whatever the model's dtype: a trained table knows where its rounding put the edges.
    share = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact)
    far = exact + (share * exact).long()
    return torch.where(distance < exact, distance.clamp(min=0), far.clamp(max=2 * exact - 1))


class RelativeBias(nn.Module):
    """A trained number for each head and bucket, added to the scores; it looks both ways.

    Half of the buckets are for keys after the query. One table serves all layers of a stack:
    Raffel et al. 2019, §2.1.

    Raises ValueError unless there are heads, 4 divides `n_buckets`, and `max_distance` is over
    half of it.
    """

    def __init__(self, n_heads: int, n_buckets: int = 32, max_distance: int = 128) -> None:
        super().__init__()
        if n_heads < 1:
            raise ValueError(f"n_heads must be at least 1, got {n_heads}")
        check_buckets(n_buckets, max_distance)
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
        return distance_buckets(behind.abs(), half // 2, self.max_distance) + half * (behind < 0)


class CausalRelativeBias(RelativeBias):
    """The same with all buckets for the past: what lies ahead is hidden by the mask."""

    def buckets(self, behind: Int[Tensor, "T S"]) -> Int[Tensor, "T S"]:
        """Keys after the query count as its own place."""
        return distance_buckets(behind, self.table.num_embeddings // 2, self.max_distance)


def check_buckets(n_buckets: int, max_distance: int) -> None:
    """Raise ValueError unless 4 divides `n_buckets`, and `max_distance` is over half of it."""
    if n_buckets < 4 or n_buckets % 4:
        raise ValueError(f"n_buckets must be a positive multiple of 4, got {n_buckets}")
    if max_distance <= n_buckets // 2:
        raise ValueError(f"max_distance must be over {n_buckets // 2}, got {max_distance}")
