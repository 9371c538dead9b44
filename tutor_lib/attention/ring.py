"""Ring attention: a sequence too long for one device, cut among n that stand in a ring."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from tutor_lib.attention.flash import (
    Band,
    Gradients,
    Tiling,
    check_qkv,
    finish,
    fold,
    fold_gradients,
    nothing_seen,
)
from tutor_lib.device import widened

# Which positions a rank holds, in order: of (rank, world, length of the whole sequence).
Layout = Callable[[int, int, int], tuple[range, ...]]


def contiguous(rank: int, world: int, length: int) -> tuple[range, ...]:
    """Rank r of n holds the r-th of n equal chunks: Liu et al. 2023 (arXiv:2310.01889).

    With a causal mask rank 0 has little to do and the last rank much.

    Raises ValueError if there is no such rank or n does not divide the length.
    """
    return _chunks((rank,), world, rank, world, length)


def zigzag(rank: int, world: int, length: int) -> tuple[range, ...]:
    """Rank r of n holds chunks r and 2n − 1 − r of 2n, an early one and a late one.

    So a causal mask leaves each rank as much to do, at every hop: the layout of Llama 3's
    context parallelism, §3.3.2 (arXiv:2407.21783). Striped attention balances with stripes
    instead: Brandon et al. 2023 (arXiv:2311.09431).

    Raises ValueError if there is no such rank or 2n does not divide the length.
    """
    return _chunks((rank, 2 * world - 1 - rank), 2 * world, rank, world, length)


def _chunks(
    chosen: tuple[int, ...], n_chunks: int, rank: int, world: int, length: int
) -> tuple[range, ...]:
    if not 0 <= rank < world:
        raise ValueError(f"rank must lie in 0…{world - 1}, got {rank}")
    if length % n_chunks:
        raise ValueError(f"{n_chunks} chunks for {world} ranks do not divide {length} positions")
    size = length // n_chunks
    return tuple(range(i * size, (i + 1) * size) for i in chosen)


def shard(x: Tensor, layout: Layout, rank: int, world: int, dim: int = -2) -> Tensor:
    """What a rank holds of `x`, whose dimension `dim` is the sequence."""
    spans = layout(rank, world, x.size(dim))
    return torch.cat([x.narrow(dim, span.start, len(span)) for span in spans], dim)


def unshard(shards: Sequence[Tensor], layout: Layout, dim: int = -2) -> Tensor:
    """The whole sequence again, from what the ranks 0 … n − 1 hold.

    Raises ValueError if there are no shards or their lengths differ.
    """
    lengths = [x.size(dim) for x in shards]
    if len(set(lengths)) != 1:
        raise ValueError(f"need shards of one length, got {lengths}")
    pieces: dict[int, Tensor] = {}
    for rank, x in enumerate(shards):
        spans = layout(rank, len(shards), sum(lengths))
        parts = x.split([len(span) for span in spans], dim)
        pieces |= {span.start: part for span, part in zip(spans, parts, strict=True)}
    return torch.cat([pieces[start] for start in sorted(pieces)], dim)


def causal_pairs(layout: Layout, world: int, length: int) -> list[list[int]]:
    """How many (query, key) pairs each rank computes, for each rank that the keys come from.

    Entry [r][s] counts the keys of rank s that are not later than the query of rank r. The
    sum of a row is a rank's work; ranks wait for each other at each hop, so the work of
    a hop, the entries with equal (r − s) mod n, is best equal too.
    """
    held = [layout(rank, world, length) for rank in range(world)]
    return [[_causal_pairs(queries, keys) for keys in held] for queries in held]


def _causal_pairs(queries: tuple[range, ...], keys: tuple[range, ...]) -> int:
    positions = [position for span in queries for position in span]
    return sum(len(range(key.start, min(key.stop, p + 1))) for p in positions for key in keys)


def send_on(blocks: Sequence[Tensor], group: dist.ProcessGroup) -> tuple[list[Tensor], list]:
    """Start to send blocks to the next rank, and to receive the previous rank's.

    Returns the blocks that arrive, and the work to wait for before they are read. Sends and
    receives are posted together: were each rank to send first, all could wait for ever.
    """
    rank, world = group.rank(), group.size()
    if world == 1:
        return list(blocks), []
    to, source = (dist.get_global_rank(group, (rank + step) % world) for step in (1, -1))
    arriving = [torch.empty_like(x) for x in blocks]
    sends = [dist.P2POp(dist.isend, x, to, group) for x in blocks]
    receives = [dist.P2POp(dist.irecv, x, source, group) for x in arriving]
    return arriving, dist.batch_isend_irecv(sends + receives)


def pass_on(blocks: Sequence[Tensor], group: dist.ProcessGroup) -> list[Tensor]:
    """Send blocks to the next rank; return the previous rank's."""
    arriving, works = send_on(blocks, group)
    for work in works:
        work.wait()
    return arriving


def visits(
    blocks: Sequence[Tensor], group: dist.ProcessGroup
) -> Iterator[tuple[int, Sequence[Tensor]]]:
    """Yield each rank's blocks and that rank, its own first, once round the ring.

    The next blocks travel while the caller computes with these.
    """
    rank, world = group.rank(), group.size()
    blocks = [x.contiguous() for x in blocks]
    for hop in range(world):
        arriving, works = send_on(blocks, group) if hop < world - 1 else (blocks, [])
        yield (rank - hop) % world, blocks
        for work in works:
            work.wait()
        blocks = arriving


@dataclass(frozen=True)
class Ring:
    """The ranks that share a sequence, and how attention is cut among them."""

    group: dist.ProcessGroup
    layout: Layout
    length: int
    band: Band
    scale: float
    block_size: int

    def tiling(self, source: int) -> Tiling:
        """This rank's queries against the keys of rank `source`."""
        rank, world = self.group.rank(), self.group.size()
        queries, keys = (self.layout(r, world, self.length) for r in (rank, source))
        return Tiling(queries, keys, self.band, self.scale, self.block_size)


class _RingAttention(torch.autograd.Function):
    """FlashAttention, its keys and values come by instead of lying there."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, ring: Ring) -> Tensor:
        seen = nothing_seen(q, v)
        for source, (k_block, v_block) in visits((k, v), ring.group):
            fold(seen, q, k_block, v_block, ring.tiling(source))
        out, lse = finish(seen)
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.ring = ring
        return out.to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        dq, dk, dv = (torch.zeros_like(widened(x).contiguous()) for x in (q, k, v))
        for source, (k_block, v_block) in visits((k, v), ctx.ring.group):
            grads, tiling = Gradients(dq, dk, dv), ctx.ring.tiling(source)
            fold_gradients(grads, q, k_block, v_block, out, lse, dout, tiling)
            # They go with their keys and values, and one hop more: home.
            dk, dv = pass_on((dk, dv), ctx.ring.group)
        return *(grad.to(q.dtype) for grad in (dq, dk, dv)), None


def _members(group: dist.ProcessGroup | None) -> dist.ProcessGroup:
    if group is None and dist.is_available():
        group = dist.group.WORLD
    if not isinstance(group, dist.ProcessGroup):
        raise ValueError(
            f"no process group of this process, got {group}:"
            " call torch.distributed.init_process_group first"
        )
    return group


def ring_attention(
    q: Float[Tensor, "B H T D"],
    k: Float[Tensor, "B H T D"],
    v: Float[Tensor, "B H T Dv"],
    layout: Layout = contiguous,
    causal: bool = False,
    scale: float | None = None,
    block_size: int = 64,
    group: dist.ProcessGroup | None = None,
) -> Float[Tensor, "B H T Dv"]:
    """Attention of a sequence of n · T positions, of which each of n ranks holds T.

    softmax(scale · q kᵀ) v, `scale` = 1/√D if not given: Liu et al. 2023 (arXiv:2310.01889).
    Keys and values go round the ring; each rank folds those that come by into its queries'
    running softmax as FlashAttention does, and holds three ranks' at most: its own, those that
    visit, those that arrive. What a causal mask hides wholly is passed on but not computed.

    Each rank of `group` (all, if not given) calls this with its own shard, equally long and cut
    by the same `layout`: `contiguous` or `zigzag`. The backward goes round the ring too, so
    each rank must call it. Differentiable once.

    Raises ValueError if there is no process group, or this process is not in it, if shapes do
    not fit, if the layout cannot cut n · T positions, or if `block_size` is less than 1.
    """
    check_qkv(q, k, v)
    if q.size(-2) != k.size(-2):
        raise ValueError(f"a rank needs as many queries as keys, got {q.size(-2)}, {k.size(-2)}")
    group = _members(group)
    band = Band(0, math.inf) if causal else Band()
    scale = q.size(-1) ** -0.5 if scale is None else scale
    ring = Ring(group, layout, q.size(-2) * group.size(), band, scale, block_size)
    ring.tiling(group.rank())  # a layout that cannot cut the sequence is told before any waits
    return _RingAttention.apply(q, k, v, ring)
