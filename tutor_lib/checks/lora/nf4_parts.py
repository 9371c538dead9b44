"""What is asked of quantize_nf4 and dequantize_nf4."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.lora.nf4 import NF4_LEVELS, _blocks, dequantizing, quantizing
from tutor_lib.checks.run import Complaint

Shape = tuple[int, ...]


def _clear(x: Tensor) -> Tensor:
    """x without what lies so close to the middle of two levels that rounding would decide."""
    blocks = _blocks(x)
    middles = ((NF4_LEVELS[:-1] + NF4_LEVELS[1:]) / 2).to(x)
    unit = blocks / blocks.abs().amax(1, keepdim=True).clamp(min=1e-30)
    close = (unit[..., None] - middles).abs().amin(-1) < 1e-3
    return blocks.masked_fill(close, 0).flatten()[: x.numel()].view(x.shape)


def quantized(student: Callable[..., Any], x: Tensor) -> Any:
    """Codes and scales; raises Complaint if the codes are no bytes."""
    result = student(x)
    if isinstance(result, tuple | list) and len(result) == 2 and isinstance(result[0], Tensor):
        if result[0].dtype != torch.uint8:
            kind = str(result[0].dtype).removeprefix("torch.")
            raise Complaint(
                f"The codes are of dtype {kind}. They are whole numbers from 0 to 15, kept in one "
                "byte each: torch.uint8."
            )
    return result


def of_zeros(student: Callable[..., Any], x: Tensor) -> Any:
    """What comes of the block of x that is all zeros: its codes, and what they stand for."""
    result = quantized(student, x)
    if not (isinstance(result, tuple | list) and len(result) == 2):
        return result
    codes, scales = result
    zeros = (_blocks(x) == 0).all(1)
    if not all(isinstance(t, Tensor) and t.ndim for t in (codes, scales)):
        raise Complaint("Codes and scales should be tensors: (blocks, 64) and (blocks,).")
    if len(codes) != len(zeros) or len(scales) != len(zeros):
        raise Complaint(f"There should be {len(zeros)} blocks, each with one scale.")
    levels = NF4_LEVELS.to(x)[codes[zeros].long().clamp(0, 15)]
    return codes[zeros], levels * scales[zeros].view(-1, 1)


def cases(draw: Draw) -> list[Arguments]:
    """Weights whose blocks have sizes of their own."""
    return [
        (_clear(draw(3, 100) * draw(3, 1)),),
        (_clear(draw(2, 64)),),
        (_clear(draw(5, 7, 11) * (1 + draw(5, 1, 1).abs())),),
        (_clear(draw(1)),),
        (_clear(-draw(64).abs()),),  # no positive number at all
        (_clear(draw(13, 17).double()),),
    ]


def zero_cases(draw: Draw) -> list[Arguments]:
    """Weights with a block of zeros among others."""
    found = []
    for n in (3, 5):
        x = _clear(draw(n, 64))
        x[1] = 0
        found.append((x,))
    return found


def dequantize_cases(draw: Draw) -> list[Arguments]:
    """Codes, scales, and the shape that is asked for."""

    def case(*shape: int) -> tuple[Tensor, Tensor, Shape]:
        n = -(-math.prod(shape) // 64)
        return draw.ids(16, n, 64).to(torch.uint8), 0.5 + draw(n).abs(), shape

    codes, scales, shape = case(13, 17)
    return [
        case(3, 100), case(2, 64), case(5, 7, 11), case(1), case(64, 64),  # as many blocks as codes
        (codes, scales.double(), shape),
    ]  # fmt: skip


CODES = ("the tensor of codes", "the tensor of scales")
ZEROS = ("the codes of a block of zeros", "what a block of zeros comes back as")
quantizing.part("quantize_nf4", 2, cases, quantized, CODES)
quantizing.part("quantize_nf4_zeros", 1, zero_cases, of_zeros, ZEROS)
dequantizing.part("dequantize_nf4", 2, dequantize_cases)
