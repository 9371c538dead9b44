"""NF4 against bitsandbytes' kernels for CPUs, on matrices of float32.

bitsandbytes quantises in PyTorch, and dequantises in C++ with AVX-512 where there is such; ours
are plain PyTorch, and may take twice the time. 4096 × 4096 is a matrix of LLaMA 7B's attention,
where both wait for memory. A matrix that fits a core's cache is dequantised faster by that kernel
than three passes of PyTorch can: alone, it has a line of its own; there and back, half the speed is
asked for at either size.
"""

import bitsandbytes.functional as peer
import torch
from torch import Tensor

from tests.bench.harness import Comparison
from tutor_lib.adapt.quantize import NF4Tensor, dequantize_nf4, quantize_nf4


def rows() -> list[Comparison]:
    small, large = (1024, 1024), (4096, 4096)
    return [
        there_and_back(small, at_least=0.5),
        there_and_back(large, at_least=0.5),
        dequantizing(small, at_least=0.1),
        dequantizing(large, at_least=0.4),
    ]


def there_and_back(shape: tuple[int, int], at_least: float) -> Comparison:
    x = matrix(shape)

    def ours() -> tuple[NF4Tensor, Tensor]:
        return (q := quantize_nf4(x)), dequantize_nf4(q)

    def theirs() -> tuple[tuple[Tensor, peer.QuantState], Tensor]:
        return (q := peer.quantize_4bit(x, quant_type="nf4")), peer.dequantize_4bit(*q)

    def same(a: tuple, b: tuple) -> bool:
        return same_codes(a[0], b[0]) and torch.equal(a[1], b[1])

    work = f"NF4 quantise and dequantise, {shape[0]} × {shape[1]}"
    return Comparison(work, "bitsandbytes", ours, theirs, same, at_least)


def same_codes(ours: NF4Tensor, theirs: tuple[Tensor, peer.QuantState]) -> bool:
    packed, state = theirs
    return torch.equal(ours.packed, packed.flatten()) and torch.equal(ours.scales, state.absmax)


def dequantizing(shape: tuple[int, int], at_least: float) -> Comparison:
    x = matrix(shape)
    ours, (packed, state) = quantize_nf4(x), peer.quantize_4bit(x, quant_type="nf4")
    return Comparison(
        f"NF4 dequantise alone, {shape[0]} × {shape[1]}", "bitsandbytes",
        lambda: dequantize_nf4(ours), lambda: peer.dequantize_4bit(packed, state),
        torch.equal, at_least,
    )  # fmt: skip


def matrix(shape: tuple[int, int]) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape)
