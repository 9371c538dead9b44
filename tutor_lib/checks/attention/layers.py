"""Inputs for multi-head attention, and how a student's layer is put to work on them."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from tutor_lib.checks.diagnose import Arguments
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.modules import built, loaded
from tutor_lib.checks.run import run

NAMES = ("q_proj", "k_proj", "v_proj", "o_proj")
# B, T, C, H. The first are the sizes of the exercise.
SIZES = [(2, 5, 12, 3), (3, 7, 10, 5), (1, 3, 7, 1)]
# T = H and T = D: axes that are mixed up still fit, and the numbers must tell.
SQUARE = (2, 5, 25, 5)


def _inputs(draw: Draw, B: int, T: int, C: int) -> tuple[Tensor, Tensor]:
    """x, and the four matrices: of a size that keeps softmax far from one-hot."""
    return draw(B, T, C), draw(4, C, C) * 1.3 / math.sqrt(C)


def self_cases(draw: Draw) -> list[Arguments]:
    """x, the projections and H."""
    cases: list[Arguments] = [(*_inputs(draw, *s[:3]), s[3]) for s in [*SIZES, SQUARE]]
    x, projections = _inputs(draw, 2, 11, 21)
    return [*cases, (x.double(), projections.double(), 7)]


def mask_cases(draw: Draw) -> list[Arguments]:
    """The same with a mask: one for all, one for each text of the batch, and a causal one."""
    (B, T, C, H), other = SIZES[0], SIZES[1]
    causal = torch.ones(SQUARE[1], SQUARE[1], dtype=torch.bool).tril()
    return [
        (*_inputs(draw, B, T, C), H, draw.mask(T, T)),
        (*_inputs(draw, *other[:3]), other[3], draw.mask(other[0], 1, other[1], other[1])),
        (*_inputs(draw, *SQUARE[:3]), SQUARE[3], causal),
    ]


def cross_cases(draw: Draw) -> list[Arguments]:
    """The same with a context, which is longer, shorter, or as long as x."""
    pairs = zip([*SIZES, SQUARE], (7, 3, 5, SQUARE[1]), strict=True)
    found: list[Arguments] = [(*_inputs(draw, *s[:3]), s[3], draw(s[0], S, s[2])) for s, S in pairs]
    (B, T, C, H), S = SIZES[1], 5
    return [*found, (*_inputs(draw, B, T, C), H, draw(B, S, C), draw.mask(T, S))]


def rope_cases(draw: Draw) -> list[Arguments]:
    """The same with a base for RoPE, for which D is even."""
    sizes = [(2, 5, 12, 3, 10_000.0), (3, 7, 10, 5, 500.0), (2, 5, 30, 5, 23.0)]
    found: list[Arguments] = [(*_inputs(draw, *s[:3]), *s[3:]) for s in sizes]
    return [*found, (*_inputs(draw, 2, 7, 12), 3, 100.0, draw.mask(7, 7))]


def layer(make: Any, x: Tensor, projections: Tensor, *sizes: Any) -> Callable[..., Any]:
    """The student's layer with these matrices in it, through which they can be learned."""
    state = {f"{name}.weight": w for name, w in zip(NAMES, projections, strict=True)}
    module = loaded(built(make, x.size(-1), *sizes), state, like=x)
    return lambda *given: functional_call(module, state, given)


def attend(
    make: Any, x: Tensor, projections: Tensor, sizes: tuple[Any, ...], *given: Tensor | None
) -> Any:
    """What a layer of these sizes makes of x and what else is given. For hidden tests."""
    return layer(make, x, projections, *sizes)(x, *given)


def attend_to_self(make: Any, x: Tensor, projections: Tensor, H: int) -> Any:
    """Self-attention without a mask."""
    return layer(make, x, projections, H)(x)


def attend_with_mask(make: Any, x: Tensor, projections: Tensor, H: int, mask: Tensor) -> Any:
    """Self-attention with a mask."""
    return layer(make, x, projections, H)(x, mask)


def attend_to_context(
    make: Any, x: Tensor, projections: Tensor, H: int, context: Tensor, mask: Tensor | None = None
) -> Any:
    """Cross-attention; with a mask only for who masks rightly, so that a mistake costs once."""
    make = make if mask is None else _masking(make, x, projections, H)
    return layer(make, x, projections, H)(x, mask, context)


def attend_by_position(
    make: Any, x: Tensor, projections: Tensor, H: int, rope_base: float, mask: Tensor | None = None
) -> Any:
    """Self-attention with RoPE; with a mask only for who masks rightly."""
    make = make if mask is None else _masking(make, x, projections, H)
    return layer(make, x, projections, H, rope_base)(x, mask)


def _masking(make: Any, x: Tensor, projections: Tensor, H: int) -> Any:
    """The student's class if it uses a mask rightly, else a right one: that costs points once."""
    from tutor_lib.checks.attention.multihead import Reference  # which imports this module

    first = torch.zeros(x.size(1), x.size(1), dtype=torch.bool, device=x.device)
    first[:, 0] = True
    seen = run(lambda: layer(make, x, projections, H)(x, first)[1][..., 0], ()).value
    right = isinstance(seen, Tensor) and bool((seen > 0.999).all())
    return make if right else Reference
