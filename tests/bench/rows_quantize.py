"""NF4 against bitsandbytes' kernels for CPUs, on matrices of float32.

bitsandbytes quantises in PyTorch, and dequantises in C++ with AVX-512 where there is such; ours
are plain PyTorch, and may take twice the time. 4096 × 4096 is a matrix of LLaMA 7B's attention,
where both wait for memory. A matrix that fits a core's cache is dequantised faster by that kernel
than three passes of PyTorch can: no line is set there.
"""

import bitsandbytes.functional as peer
import torch
from torch import Tensor

from tests.bench.harness import Comparison
from tutor_lib.adapt.quantize import NF4Tensor, dequantize_nf4, quantize_nf4


def rows() -> list[Comparison]:
    large = (4096, 4096)
    return [quantizing((1024, 1024)), quantizing(large), dequantizing(large)]


def quantizing(shape: tuple[int, int]) -> Comparison:
    x = matrix(shape)
    return Comparison(
        f"NF4 quantise, {shape[0]} × {shape[1]}", "bitsandbytes",
        lambda: quantize_nf4(x), lambda: peer.quantize_4bit(x, quant_type="nf4"),
        same_codes, at_least=0.5,
    )  # fmt: skip


def same_codes(ours: NF4Tensor, theirs: tuple[Tensor, peer.QuantState]) -> bool:
    packed, state = theirs
    return torch.equal(ours.packed, packed.flatten()) and torch.equal(ours.scales, state.absmax)


def dequantizing(shape: tuple[int, int]) -> Comparison:
    x = matrix(shape)
    ours, (packed, state) = quantize_nf4(x), peer.quantize_4bit(x, quant_type="nf4")
    return Comparison(
        f"NF4 dequantise, {shape[0]} × {shape[1]}", "bitsandbytes",
        lambda: dequantize_nf4(ours), lambda: peer.dequantize_4bit(packed, state),
        torch.equal, at_least=0.5,
    )  # fmt: skip


def matrix(shape: tuple[int, int]) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(shape)
