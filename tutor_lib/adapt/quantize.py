"""NF4: four bits a weight, and the scales of its blocks in eight (double quantisation)."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

BLOCK = 64  # weights that share a scale
SCALE_BLOCK = 256  # scales that share a scale of their own
TINY = 1e-38  # a block of zeros is divided by this


@cache
def nf4_levels() -> Float[Tensor, "16"]:
    """The 16 values of NormalFloat4, from -1 to 1, ascending; 0 is one of them.

    Quantiles of the normal distribution, evenly spaced in probability from 0.5 to 1 - δ, eight
    above 0 and seven below, over the largest: Dettmers et al. 2023, §3 (arXiv:2305.14314). δ is
    the mean of 1/32 and 1/30, as in the authors' code.
    """
    offset = 0.9677083  # 1 - δ

    def above(n: int) -> Tensor:
        # The authors' own rounding: places in float32, quantiles in float64.
        return torch.special.ndtri(torch.linspace(offset, 0.5, n + 1)[:-1].double())

    levels = torch.cat([-above(7), torch.zeros(1, dtype=torch.float64), above(8).flip(0)]).float()
    return levels / levels.max()


@cache
def dynamic_levels() -> Float[Tensor, "256"]:
    """The 256 values of the dynamic 8-bit type, ascending: Dettmers 2015 (arXiv:1511.04561).

    ±10^(i - 6) times the middles of 2^i equal parts of [0.1, 1], for i = 0 … 6; and 0 and 1. Small
    numbers have many exponents and few digits, large ones the other way round.
    """
    positive = []
    for i in range(7):
        edges = torch.linspace(0.1, 1, 2**i + 1)
        positive += (10 ** (i - 6) * (edges[:-1] + edges[1:]) / 2).tolist()
    return torch.tensor(sorted([*positive, *(-x for x in positive), 0.0, 1.0]))


@dataclass(frozen=True)
class DoubleQuantized:
    """The scales of blocks, quantised in their turn: §3 of the paper.

    A scale is level[code] · absmax of its 256 + offset, the mean of all.
    """

    codes: UInt8[Tensor, "blocks"]
    absmax: Float[Tensor, "groups"]
    offset: Float[Tensor, ""]

    def dequantize(self) -> Float[Tensor, "blocks"]:
        """The scales, rounded."""
        levels = dynamic_levels().to(self.codes.device)[self.codes.int()]
        return _in_blocks(levels, self.absmax, SCALE_BLOCK) + self.offset


@dataclass(frozen=True)
class NF4Tensor:
    """A tensor in four bits a number: two codes a byte, the first in the high half.

    Raises ValueError if the codes or scales are not as many as `shape` needs.
    """

    packed: UInt8[Tensor, "bytes"]
    scales: Float[Tensor, "blocks"] | DoubleQuantized  # of each block of 64 numbers
    shape: torch.Size
    dtype: torch.dtype  # of the tensor that was quantised

    def __post_init__(self) -> None:
        n, found = math.prod(self.shape), self.packed.numel()
        if found != -(-n // 2):
            raise ValueError(f"{tuple(self.shape)} needs {-(-n // 2)} bytes, got {found}")
        scales = self.scales if isinstance(self.scales, Tensor) else self.scales.codes
        if (found := scales.numel()) != -(-n // BLOCK):
            raise ValueError(f"{tuple(self.shape)} needs {-(-n // BLOCK)} scales, got {found}")

    @property
    def bits_per_parameter(self) -> float:
        """All bits that are stored, over the numbers of the tensor.

        4 + 32/64 = 4.5; with double quantisation 4 + 8/64 + 32/(64 · 256) = 4.127, and the
        offset's 32 bits.
        """
        scales = self.scales
        kept = [scales] if isinstance(scales, Tensor) else vars(scales).values()
        return 8 * sum(t.nbytes for t in (self.packed, *kept)) / math.prod(self.shape)


def quantize_nf4(x: Float[Tensor, "*shape"], double: bool = False) -> NF4Tensor:
    """Round each number of x to the nearest NF4 level times the largest |x| of its block.

    Blocks are 64 numbers in a row; the last may be shorter. A number in the middle of two
    levels takes the lower. `double` quantises the scales too. Codes and scales are those of
    bitsandbytes: Dettmers et al. 2023, §2 and §3 (arXiv:2305.14314).

    Raises ValueError if x is empty, or holds NaN or ∞.
    """
    if not x.numel():
        raise ValueError(f"nothing to quantise: a tensor of shape {tuple(x.shape)}")
    scales = _absmax(blocks := _blocks(x.detach().float(), BLOCK))
    if not scales.isfinite().all():
        check_finite(x)
    codes = _codes(blocks, scales, nf4_levels())[: x.numel() + x.numel() % 2].view(-1, 2)
    packed = codes[:, 0] << 4 | codes[:, 1]
    return NF4Tensor(packed, quantize_scales(scales) if double else scales, x.shape, x.dtype)


def check_finite(x: Float[Tensor, "*shape"]) -> None:
    """Raise ValueError if x holds NaN, ∞, or what is infinite in float32."""
    if len(bad := (~x.float().isfinite()).nonzero()):
        where = bad[0].tolist()
        raise ValueError(f"{x[tuple(where)].item()} at {where} cannot be quantised")


def dequantize_nf4(q: NF4Tensor) -> Float[Tensor, "*shape"]:
    """The tensor in its own shape and dtype: level[code] · scale."""
    # A byte is looked up whole: its two levels are one number of 64 bits.
    pairs = _pairs(q.packed.device).index_select(0, q.packed.int())
    levels = pairs.view(torch.float32)[: math.prod(q.shape)]
    scales = q.scales.dequantize() if isinstance(q.scales, DoubleQuantized) else q.scales
    return _in_blocks(levels, scales, BLOCK).view(q.shape).to(q.dtype)


def quantize_scales(scales: Float[Tensor, "blocks"]) -> DoubleQuantized:
    """Eight bits a scale, in blocks of 256, after their mean is taken away.

    All scales are positive; without their mean they use both halves of the levels. The codes
    are those of bitsandbytes' portable kernel; its kernel for CPUs looks up a table of 65,536
    steps, so that a number close to the middle of two levels may take the other one.
    """
    offset = scales.mean()
    absmax = _absmax(blocks := _blocks(scales - offset, SCALE_BLOCK))
    codes = _codes(blocks, absmax, dynamic_levels())[: scales.numel()]
    return DoubleQuantized(codes, absmax, offset)


def _blocks(x: Tensor, size: int) -> Tensor:
    """(blocks, size), the last filled up with zeros."""
    x = x.flatten()
    if rest := -len(x) % size:  # a pad of nothing would still copy
        x = functional.pad(x, (0, rest))
    return x.view(-1, size)


def _absmax(blocks: Tensor) -> Tensor:
    low, high = blocks.aminmax(dim=1)
    return torch.maximum(high, -low)


def _codes(blocks: Tensor, absmax: Tensor, levels: Tensor) -> Tensor:
    """The number of the level nearest to each x/absmax; the lower one for a tie."""
    # Times the reciprocal, as in bitsandbytes: a division rounds otherwise.
    unit = (blocks * (1 / absmax.clamp(min=TINY))[:, None]).clamp_(-1, 1)
    middles = ((levels[:-1] + levels[1:]) / 2).to(blocks.device)
    return torch.bucketize(unit.flatten(), middles, out_int32=True).to(torch.uint8)


@cache
def _pairs(device: torch.device) -> Tensor:
    """The two levels that each byte stands for, side by side in an int64."""
    byte = torch.arange(256)
    pairs = torch.stack([nf4_levels()[byte >> 4], nf4_levels()[byte & 15]], dim=1)
    return pairs.view(torch.int64).flatten().to(device)


def _in_blocks(levels: Tensor, scales: Tensor, size: int) -> Tensor:
    """levels · the scale of their block; may use the memory of `levels`."""
    return _blocks(levels, size).mul_(scales[:, None]).flatten()[: len(levels)]
