"""NF4 against bitsandbytes: the same bits, forth and back."""

import math

import bitsandbytes.functional as peer
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from torch import Tensor

from tutor_lib.adapt.quantize import (
    DoubleQuantized,
    NF4Tensor,
    dequantize_nf4,
    dynamic_levels,
    nf4_levels,
    quantize_nf4,
    quantize_scales,
)

SHAPES = [(64,), (1,), (63,), (7, 13), (129, 5), (64, 256), (331, 127), (2, 3, 5, 7)]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def _uncompiled():
    """bitsandbytes compiles what it has no kernel for, anew for each odd shape."""
    with torch.compiler.set_stance("force_eager"):
        yield


def bitsandbytes(x: Tensor) -> tuple[Tensor, peer.QuantState]:
    return peer.quantize_4bit(x, quant_type="nf4")


def portable(x: Tensor) -> tuple[Tensor, Tensor]:
    """bitsandbytes' 8-bit codes and absmax, by the kernel for devices that have none of their own.

    The one for CPUs rounds x to a table of 65,536 places first.
    """
    kernel = torch.library.get_kernel("bitsandbytes::quantize_blockwise", "XLA")
    keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
    return kernel.call_boxed(keys, x, peer.create_dynamic_map(), 256)


def random(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    x = torch.randn(shape) * torch.rand(shape[-1]).exp()
    return x.to(dtype)


def test_the_levels_are_bitsandbytes():
    assert torch.equal(nf4_levels(), peer.get_4bit_type("nf4", "cpu"))
    assert torch.equal(dynamic_levels(), peer.create_dynamic_map())


def test_the_levels_are_quantiles():
    """The paper's: evenly spaced in probability on either side of 0, over the largest."""
    top = norm.ppf(0.9677083)
    for i, level in enumerate(nf4_levels().tolist()):
        p = 0.5 + (i - 7) * 0.4677083 / (8 if i > 7 else 7)
        assert level == pytest.approx(norm.ppf(p) / top, abs=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_bitsandbytes(shape, dtype):
    x = random(shape, dtype)
    ours, (packed, state) = quantize_nf4(x), bitsandbytes(x)
    assert torch.equal(ours.packed, packed.flatten())
    assert torch.equal(ours.scales, state.absmax)
    out = dequantize_nf4(ours)
    assert out.dtype == dtype
    assert out.shape == shape
    assert torch.equal(out, peer.dequantize_4bit(packed, state).view(shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(64, 256), (331, 127), (700, 1021)])
def test_double_quantisation_equals_bitsandbytes(shape, dtype):
    x = random(shape, dtype)
    ours = quantize_nf4(x, double=True)
    scales = bitsandbytes(x)[1].absmax
    codes, absmax = portable(scales - scales.mean())
    assert torch.equal(ours.scales.offset, scales.mean())
    assert torch.equal(ours.scales.codes, codes)
    assert torch.equal(ours.scales.absmax, absmax)


@pytest.mark.parametrize("shape", [(64, 256), (331, 126), (700, 1022)])
def test_we_read_what_bitsandbytes_compressed(shape):
    packed, state = peer.quantize_4bit(
        random(shape, torch.float32), quant_type="nf4", compress_statistics=True
    )
    scales = DoubleQuantized(state.absmax, state.state2.absmax, state.offset)
    read = NF4Tensor(packed.flatten(), scales, torch.Size(shape), torch.float32)
    assert torch.equal(dequantize_nf4(read), peer.dequantize_4bit(packed, state))


def test_their_kernel_for_cpus_differs_by_one_level_at_most_and_seldom():
    scales = torch.rand(100_000)
    ours = quantize_scales(scales)
    theirs, state = peer.quantize_blockwise(scales - scales.mean(), blocksize=256)
    assert (ours.codes != theirs).float().mean() < 0.01
    levels = dynamic_levels()
    apart = (levels[ours.codes.int()] - levels[theirs.int()]).abs()
    assert (apart <= 1 / 70).all()  # the widest step of the table
    assert torch.equal(ours.absmax, state.absmax)


def test_ties_blocks_of_zeros_and_extremes():
    levels = nf4_levels()
    ties = torch.cat([torch.ones(1), (levels[:-1] + levels[1:]) / 2, levels, torch.zeros(32)])
    huge = torch.tensor([3e38, -3e38, 1e38, 0.0]).repeat(16)
    tiny = torch.tensor([1e-40, -1e-39, 1e-45, 0.0]).repeat(16)
    x = torch.stack([ties, torch.zeros(64), huge, tiny, -ties, torch.full((64,), -0.0)])
    ours, (packed, state) = quantize_nf4(x), bitsandbytes(x)
    assert torch.equal(ours.packed, packed.flatten())
    assert torch.equal(dequantize_nf4(ours), peer.dequantize_4bit(packed, state))
    assert not dequantize_nf4(ours)[1].any()
    equal = quantize_nf4(torch.ones(64 * 300), double=True)  # all scales are their mean
    assert torch.equal(dequantize_nf4(equal), torch.ones(64 * 300))


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=200))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_each_number_goes_to_its_nearest_level(numbers):
    x = torch.tensor(numbers)
    out = dequantize_nf4(quantize_nf4(x))
    for start in range(0, len(x), 64):
        block = x[start : start + 64].double()
        choices = nf4_levels().double() * block.abs().max()
        nearest = (block[:, None] - choices).abs().min(dim=1).values
        error = (block - out[start : start + 64].double()).abs()
        assert (error <= nearest * (1 + 1e-6) + block.abs().max() * 1e-6).all()


def test_the_first_number_is_in_the_high_half_of_a_byte():
    x = torch.zeros(3)
    x[0], x[1] = 1.0, -1.0
    assert quantize_nf4(x).packed.tolist() == [0xF0, 0x77]


def test_bits_per_parameter():
    x = torch.randn(1024, 1024)
    assert quantize_nf4(x).bits_per_parameter == 4 + 32 / 64
    expected = 4 + 8 / 64 + 32 / (64 * 256)
    assert round(expected, 3) == 4.127
    assert quantize_nf4(x, double=True).bits_per_parameter == expected + 32 / 1024**2


@pytest.mark.gpu
@pytest.mark.parametrize("double", [False, True])
def test_cuda_gives_the_cpus_numbers(double):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    x = random((331, 127), torch.float32)
    here, there = quantize_nf4(x, double), quantize_nf4(x.cuda(), double)
    assert torch.equal(here.packed, there.packed.cpu())
    torch.testing.assert_close(dequantize_nf4(there).cpu(), dequantize_nf4(here))


def test_double_precision_is_kept_as_a_dtype():
    x = torch.randn(5, 64, dtype=torch.float64)
    out = dequantize_nf4(quantize_nf4(x))
    assert out.dtype == torch.float64
    assert torch.equal(out.float(), dequantize_nf4(quantize_nf4(x.float())))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantize_nf4(torch.zeros(0, 3)), r"\(0, 3\)"),
        (lambda: quantize_nf4(torch.tensor([[1.0, math.nan]])), r"nan at \[0, 1\]"),
        (lambda: quantize_nf4(torch.tensor([1.0] * 99 + [-math.inf])), r"-inf at \[99\]"),
        (lambda: quantize_nf4(torch.tensor([1e300], dtype=torch.float64)), r"1e\+300 at \[0\]"),
        (lambda: NF4Tensor(torch.zeros(3, dtype=torch.uint8), torch.zeros(1), torch.Size([7]),
                           torch.float32), r"\(7,\) needs 4 bytes, got 3"),
        (lambda: NF4Tensor(torch.zeros(4, dtype=torch.uint8), torch.zeros(2), torch.Size([7]),
                           torch.float32), r"\(7,\) needs 1 scales, got 2"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
