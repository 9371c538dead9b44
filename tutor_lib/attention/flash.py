"""FlashAttention in plain PyTorch: softmax tile by tile, so that no (T, S) matrix is ever whole.

The algorithm, for reading; the fast one is a kernel behind `F.scaled_dot_product_attention`.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from tutor_lib.device import widened


class Partial(NamedTuple):
    """Attention of each query over the keys folded in so far: O, m and l of the papers."""

    out: Float[Tensor, "B H T Dv"]  # O = Σ exp(s − m) v, not yet divided by l
    maximum: Float[Tensor, "B H T 1"]  # m = max s
    total: Float[Tensor, "B H T 1"]  # l = Σ exp(s − m)

    def at(self, rows: slice) -> "Partial":
        """The part of some queries, as views."""
        return Partial(*(x[..., rows, :] for x in self))


def online_softmax_step(
    seen: Partial, scores: Float[Tensor, "B H T S"], v: Float[Tensor, "B H S Dv"]
) -> Partial:
    """Fold S more keys and values into the running softmax.

    m' = max(m, max s),  l' = e^(m − m') l + Σ e^(s − m'),  O' = e^(m − m') O + Σ e^(s − m') v:
    Milakov & Gimelshein 2018, Alg. 3 (arXiv:1805.02867), with O as in FlashAttention-2,
    §3.1.1 (arXiv:2307.08691): divided by l once, at the end.
    """
    maximum = torch.maximum(seen.maximum, scores.amax(dim=-1, keepdim=True))
    rescale = torch.exp(seen.maximum - maximum)  # what was summed under the old maximum
    weights = torch.exp(scores - maximum)
    total = rescale * seen.total + weights.sum(dim=-1, keepdim=True)
    return Partial(rescale * seen.out + weights @ v, maximum, total)


class Band(NamedTuple):
    """A query sees the keys that stand `nearest` … `farthest` positions before it."""

    nearest: float = -math.inf
    farthest: float = math.inf

    def hides(self, queries: range, keys: range) -> bool:
        """Whether none of these queries sees any of these keys."""
        too_late = queries[-1] - keys[0] < self.nearest
        too_old = queries[0] - keys[-1] > self.farthest
        return too_late or too_old

    def mask(
        self, queries: range, keys: range, device: torch.device | str | None = None
    ) -> Bool[Tensor, "T S"]:
        """True where a query sees a key."""
        rows = torch.arange(queries.start, queries.stop, device=device)
        columns = torch.arange(keys.start, keys.stop, device=device)
        distance = rows[:, None] - columns
        return (self.nearest <= distance) & (distance <= self.farthest)


class Tile(NamedTuple):
    """A block of queries or keys: `rows` of its tensor, at `positions` of the sequence."""

    rows: slice
    positions: range


def cut(spans: Iterable[range], size: int) -> Iterator[Tile]:
    """Cut the spans of positions that a tensor holds, one after another, into tiles."""
    row = 0
    for span in spans:
        for start in range(0, len(span), size):
            positions = span[start : start + size]
            yield Tile(slice(row, row + len(positions)), positions)
            row += len(positions)


@dataclass(frozen=True)
class Tiling:
    """Attention cut into tiles of `block_size` queries by `block_size` keys.

    `queries` and `keys` are the positions that the rows of q, and those of k and v, stand at.

    Raises ValueError if `block_size` is less than 1.
    """

    queries: tuple[range, ...]
    keys: tuple[range, ...]
    band: Band
    scale: float
    block_size: int

    def __post_init__(self) -> None:
        if self.block_size < 1:
            raise ValueError(f"block_size must be at least 1, got {self.block_size}")

    def pairs(self) -> Iterator[tuple[Tile, Tile]]:
        """The pairs of tiles to compute: those that the mask hides wholly are left out."""
        for query in cut(self.queries, self.block_size):
            for key in cut(self.keys, self.block_size):
                if not self.band.hides(query.positions, key.positions):
                    yield query, key

    def scores(self, q: Tensor, k: Tensor, query: Tile, key: Tile) -> Tensor:
        """q kᵀ times the scale for one pair of tiles, −∞ where the mask hides a key."""
        seen = self.band.mask(query.positions, key.positions, q.device)
        scores = widened(q[..., query.rows, :]) @ widened(k[..., key.rows, :]).mT * self.scale
        return scores.masked_fill(~seen, -math.inf)


def nothing_seen(q: Float[Tensor, "B H T D"], v: Float[Tensor, "B H S Dv"]) -> Partial:
    """O = 0, l = 0 and m = the lowest number there is.

    Not −∞ as in the papers: a row whose first keys are all masked would give exp(−∞ + ∞).
    """
    total = widened(q).new_zeros(*q.shape[:-1], 1)
    out = total.new_zeros(*q.shape[:-1], v.size(-1))
    return Partial(out, torch.full_like(total, torch.finfo(total.dtype).min), total)


def fold(seen: Partial, q: Tensor, k: Tensor, v: Tensor, tiling: Tiling) -> None:
    """Fold keys and values into `seen`, in place, tile by tile.

    FlashAttention, Alg. 1 (arXiv:2205.14135), lines 5 to 15, with queries in the outer loop
    as in FlashAttention-2, Alg. 1.
    """
    for query, key in tiling.pairs():
        before = seen.at(query.rows)
        scores = tiling.scores(q, k, query, key)
        after = online_softmax_step(before, scores, widened(v[..., key.rows, :]))
        for old, new in zip(before, after, strict=True):
            old.copy_(new)


def finish(
    seen: Partial,
) -> tuple[Float[Tensor, "B H T Dv"], Float[Tensor, "B H T 1"]]:
    """The attention output O / l, and the log-sum-exp L = m + ln l of each query's scores."""
    return seen.out / seen.total, seen.maximum + seen.total.log()


class Gradients(NamedTuple):
    """What has been summed of the gradients so far."""

    q: Float[Tensor, "B H T D"]
    k: Float[Tensor, "B H S D"]
    v: Float[Tensor, "B H S Dv"]


def fold_gradients(
    grads: Gradients, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, dout: Tensor,
    tiling: Tiling,
) -> None:  # fmt: skip
    """Add what these keys and values contribute to the gradients, in place, tile by tile.

    The weights are computed again, P = exp(S − L), and then, with D = rowsum(dO ∘ O):
    dV = Pᵀ dO,  dS = P ∘ (dO Vᵀ − D),  dQ = dS K,  dK = dSᵀ Q, the last two times the scale:
    FlashAttention, Alg. 4 (arXiv:2205.14135), with L in place of m and l as in
    FlashAttention-2, Alg. 2.
    """
    row_dot = (widened(dout) * out).sum(dim=-1, keepdim=True)  # D, (B, H, T, 1)
    for query, key in tiling.pairs():
        q_tile, dout_tile = widened(q[..., query.rows, :]), widened(dout[..., query.rows, :])
        k_tile, v_tile = widened(k[..., key.rows, :]), widened(v[..., key.rows, :])
        weights = torch.exp(tiling.scores(q, k, query, key) - lse[..., query.rows, :])
        dweights = dout_tile @ v_tile.mT
        dscores = weights * (dweights - row_dot[..., query.rows, :]) * tiling.scale
        grads.q[..., query.rows, :] += dscores @ k_tile
        grads.k[..., key.rows, :] += dscores.mT @ q_tile
        grads.v[..., key.rows, :] += weights.mT @ dout_tile


class _FlashAttention(torch.autograd.Function):
    """Remembers q, k, v, the output and one number a query, not the weights."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, tiling: Tiling) -> Tensor:
        seen = nothing_seen(q, v)
        fold(seen, q, k, v, tiling)
        out, lse = finish(seen)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.tiling = tiling
        return out.to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        grads = Gradients(*(torch.zeros_like(widened(x)) for x in (q, k, v)))
        fold_gradients(grads, q, k, v, out, lse, dout, ctx.tiling)
        return *(grad.to(q.dtype) for grad in grads), None


def check_qkv(q: Tensor, k: Tensor, v: Tensor) -> None:
    """Raise ValueError unless q, k and v fit each other."""
    if q.size(-1) != k.size(-1):
        raise ValueError(f"q and k need equal head size, got {q.size(-1)} and {k.size(-1)}")
    if not q.shape[:2] == k.shape[:2] == v.shape[:2]:
        shapes = [tuple(x.shape) for x in (q, k, v)]
        raise ValueError(f"q, k and v need equal batch and heads, got {shapes}")
    if not 1 <= k.size(-2) == v.size(-2):
        n_keys, n_values = k.size(-2), v.size(-2)
        raise ValueError(f"need keys, and a value for each, got {n_keys} and {n_values}")


def flash_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H S D"],
    v: Float[Tensor, "B H S Dv"],
    causal: bool = False,
    window: int | None = None,
    scale: float | None = None,
    block_size: int = 64,
) -> Float[Tensor, "B H T Dv"]:
    """Attention without the (T, S) matrix of weights, forward or backward.

    softmax(scale · q kᵀ) v, `scale` = 1/√D if not given: Dao et al. 2022 (arXiv:2205.14135),
    Dao 2023 (arXiv:2307.08691). Forward and backward take O(T + S + block_size²) memory beyond
    their arguments, plain attention O(T S).

    `causal`: the queries are the last T of S positions and see no later key, as with
    `causal_mask`. `window`: of those, a query sees itself and the `window` − 1 before it.
    Differentiable once.

    Raises ValueError if shapes do not fit, if `causal` and T > S, if `window` comes without
    `causal`, or if `window` or `block_size` is less than 1.
    """
    check_qkv(q, k, v)
    n_queries, n_keys = q.size(-2), k.size(-2)
    if causal and n_queries > n_keys:
        raise ValueError(f"causal attention needs T ≤ S, got {n_queries} and {n_keys}")
    if window is not None and not (causal and window >= 1):
        raise ValueError(f"a window is causal and at least 1, got {window} with {causal=}")
    band = Band(0, math.inf if window is None else window - 1) if causal else Band()
    queries, keys = range(n_keys - n_queries, n_keys), range(n_keys)
    scale = q.size(-1) ** -0.5 if scale is None else scale
    return _FlashAttention.apply(q, k, v, Tiling((queries,), (keys,), band, scale, block_size))
