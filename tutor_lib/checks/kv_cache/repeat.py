"""Key/value heads that several query heads share, as students get them wrong."""

from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (draw(2, 3, 5, 7), 2),  # (B, K, S, D)
        (draw(3, 2, 7, 5), 5),
        (draw(5, 5, 5, 5), 5),  # all sizes equal: whatever axis is taken, the shape is right
        (draw(1, 7, 2, 3).double(), 1),
        (draw(2, 1, 3, 11), 7),
    ]


def _reference(x: Tensor, times: int) -> Tensor:
    return x.repeat_interleave(times, dim=1)


repeat_kv = Exercise("repeat_kv", _reference)
repeat_kv.part("repeat_kv", 1, _cases)


@repeat_kv.misconception
def tiled(x: Tensor, times: int) -> Tensor:
    """Your heads come in the order 0 1 2 0 1 2. Query heads that are neighbours share a head, so
    the order must be 0 0 1 1 2 2: each head, then its copies, then the next."""
    return x.repeat(1, times, 1, 1)


@repeat_kv.misconception
def over_batch(x: Tensor, times: int) -> Tensor:
    """You repeat the texts of the batch. Repeat the heads: that is axis 1 of (B, K, S, D)."""
    return x.repeat_interleave(times, dim=0)


@repeat_kv.misconception
def over_positions(x: Tensor, times: int) -> Tensor:
    """You repeat the positions. Repeat the heads: that is axis 1 of (B, K, S, D)."""
    return x.repeat_interleave(times, dim=2)


@repeat_kv.misconception
def over_numbers(x: Tensor, times: int) -> Tensor:
    """You repeat the numbers inside each key. Repeat the heads: that is axis 1 of (B, K, S, D)."""
    return x.repeat_interleave(times, dim=3)


@repeat_kv.misconception
def as_often_as_heads(x: Tensor, times: int) -> Tensor:
    """You repeat each head K times, K being the number of heads that there are. How often is told
    by `times`."""
    return x.repeat_interleave(x.size(1), dim=1)


@repeat_kv.misconception
def flattened(x: Tensor, times: int) -> Tensor:
    """You repeat without naming an axis, which flattens the tensor first. Say which axis: the
    heads are axis 1."""
    return x.repeat_interleave(times)


@repeat_kv.misconception
def axis_of_its_own(x: Tensor, times: int) -> Tensor:
    """Your copies have an axis of their own: (B, K, times, S, D). Merge it with the axis of the
    heads, so that (B, K · times, S, D) comes out."""
    return x[:, :, None].repeat(1, 1, times, 1, 1)


@repeat_kv.misconception
def once_too_often(x: Tensor, times: int) -> Tensor:
    """You add `times` copies to each head, so that it is there once too often. With its copies,
    each head should be there `times` times."""
    return x.repeat_interleave(times + 1, dim=1)


@repeat_kv.misconception
def unrepeated(x: Tensor, times: int) -> Tensor:
    """You return x with as many heads as it had. (PyTorch's methods return a new tensor; they do
    not change x.)"""
    return x
