"""quantize_nf4 and dequantize_nf4, as students get them wrong."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from tutor_lib.checks.diagnose import Exercise


def _levels() -> Tensor:
    """The 16 levels of NF4: Dettmers et al. 2023, §3 (arXiv:2305.14314)."""
    below, above = (torch.linspace(0.9677083, 0.5, n + 1).double()[:-1] for n in (7, 8))
    found = torch.cat(
        [-torch.special.ndtri(below), torch.zeros(1), torch.special.ndtri(above).flip(0)]
    )
    return (found / found.max()).float()


NF4_LEVELS = _levels()


def _blocks(x: Tensor) -> Tensor:
    """(blocks, 64), the last filled up with zeros."""
    return functional.pad(x.flatten(), (0, -x.numel() % 64)).view(-1, 64)


def _absmax(blocks: Tensor) -> Tensor:
    return blocks.abs().amax(1)


def _over(blocks: Tensor, scales: Tensor) -> Tensor:
    """The blocks divided by their scales; zeros stay zeros."""
    return blocks / torch.where(scales == 0, 1, scales)[:, None]


def _nearest(unit: Tensor, levels: Tensor = NF4_LEVELS) -> Tensor:
    """The number of the level nearest to each."""
    return (unit[..., None] - levels.to(unit)).abs().argmin(-1).to(torch.uint8)


def _quantize(x: Tensor) -> tuple[Tensor, Tensor]:
    blocks = _blocks(x)
    scales = _absmax(blocks)
    return _nearest(_over(blocks, scales)), scales


def _scaled(codes: Tensor, scales: Tensor) -> Tensor:
    return NF4_LEVELS.to(scales)[codes.long()] * scales[:, None]


def _dequantize(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    return _scaled(codes, scales).flatten()[: math.prod(shape)].view(shape)


quantizing = Exercise("quantize_nf4", _quantize, learns=False)
dequantizing = Exercise("dequantize_nf4", _dequantize, learns=False)


@quantizing.misconception
def signed_maximum(x: Tensor) -> tuple[Tensor, Tensor]:
    """Your scales are the largest numbers of the blocks, with their sign. A block may reach further
    below 0 than above: take the largest absolute value."""
    blocks = _blocks(x)
    scales = blocks.amax(1)
    return _nearest(_over(blocks, scales)), scales


@quantizing.misconception
def one_scale(x: Tensor) -> tuple[Tensor, Tensor]:
    """All your blocks share one scale, the largest of the whole tensor. Each block of 64 has one
    of its own, so that one outlier spoils 64 numbers and not all."""
    blocks = _blocks(x)
    scales = x.abs().max().expand(len(blocks))
    return _nearest(_over(blocks, scales)), scales


@quantizing.misconception
def along_columns(x: Tensor) -> tuple[Tensor, Tensor]:
    """Your blocks take every so-manyth number. A block is 64 numbers in a row: let the last axis
    have 64, and as many blocks as it takes in front."""
    blocks = _blocks(x).view(64, -1).T.contiguous()
    scales = _absmax(blocks)
    return _nearest(_over(blocks, scales)), scales


@quantizing.misconception
def level_below(x: Tensor) -> tuple[Tensor, Tensor]:
    """You take the level at or below each number. Take the nearest, which may be above: else all
    numbers shrink downwards."""
    blocks = _blocks(x)
    scales = _absmax(blocks)
    unit = _over(blocks, scales)
    below = torch.bucketize(unit, NF4_LEVELS.to(unit), right=True) - 1
    return below.to(torch.uint8), scales


@quantizing.misconception
def level_above(x: Tensor) -> tuple[Tensor, Tensor]:
    """You take the level at or above each number. Take the nearest, which may be below. (bucketize
    finds a place between boundaries: which boundaries separate the nearest from the next?)"""
    blocks = _blocks(x)
    scales = _absmax(blocks)
    unit = _over(blocks, scales)
    return torch.bucketize(unit, NF4_LEVELS.to(unit)).clamp(max=15).to(torch.uint8), scales


@quantizing.misconception
def even_levels(x: Tensor) -> tuple[Tensor, Tensor]:
    """Your levels are evenly spaced from −1 to 1. Those of NF4 lie closer together near 0, where
    most weights are: use NF4_LEVELS."""
    blocks = _blocks(x)
    scales = _absmax(blocks)
    return _nearest(_over(blocks, scales), torch.linspace(-1, 1, 16)), scales


@quantizing.misconception
def multiplied(x: Tensor) -> tuple[Tensor, Tensor]:
    """You multiply each block by its scale. Divide, so that its numbers lie between −1 and 1, as
    the levels do."""
    blocks = _blocks(x)
    scales = _absmax(blocks)
    return _nearest(blocks * scales[:, None]), scales


@quantizing.misconception
def not_scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """You compare the numbers themselves with the levels. Divide each block by its scale first."""
    blocks = _blocks(x)
    return _nearest(blocks), _absmax(blocks)


@quantizing.misconception
def by_deviation(x: Tensor) -> tuple[Tensor, Tensor]:
    """Your scales are the standard deviations of the blocks. NF4 divides by the largest absolute
    value, so that nothing lies outside of −1 … 1."""
    blocks = _blocks(x)
    scales = blocks.std(1)
    return _nearest(_over(blocks, scales)), scales


@quantizing.misconception
def not_filled_up(x: Tensor) -> tuple[Tensor, Tensor]:
    """Your code works where 64 divides the number of weights, and fails elsewhere. Fill up the last
    block with zeros."""
    blocks = x.reshape(-1, 64)
    scales = _absmax(blocks)
    return _nearest(_over(blocks, scales)), scales


@quantizing.misconception
def rest_left_out(x: Tensor) -> tuple[Tensor, Tensor]:
    """You leave out the last numbers where 64 does not divide how many there are. Fill up the last
    block with zeros instead."""
    return _quantize(x.flatten()[: x.numel() // 64 * 64])


@quantizing.misconception
def block_too_many(x: Tensor) -> tuple[Tensor, Tensor]:
    """There is a block too many, all zeros, where 64 divides how many numbers there are. How many
    zeros are missing then?"""
    return _quantize(functional.pad(x.flatten(), (0, 64 - x.numel() % 64)))


@quantizing.misconception
def padding_cut_off(x: Tensor) -> tuple[Tensor, Tensor]:
    """You return the codes without the padding, or in the shape of x. Return them by block,
    (blocks, 64), padding included: dequantize_nf4 cuts it off."""
    codes, scales = _quantize(x)
    return codes.flatten()[: x.numel()].view(x.shape), scales


@quantizing.misconception
def row_by_row(x: Tensor) -> tuple[Tensor, Tensor]:
    """You have one block for each row of x. A block is 64 numbers, whatever the shape: lay the
    numbers out in one line first."""
    rows = x.view(-1, x.size(-1))
    scales = _absmax(rows)
    return _nearest(_over(rows, scales)), scales


@quantizing.misconception
def levels_for_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """You return the levels themselves, numbers between −1 and 1. Return their places in the table:
    a place fits in four bits."""
    codes, scales = _quantize(x)
    return NF4_LEVELS[codes.long()], scales


@quantizing.misconception
def signed_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Your codes run from −8 to 7. They are places in the table of 16 levels: 0 to 15."""
    codes, scales = _quantize(x)
    return (codes.to(torch.int8) - 8), scales


@quantizing.misconception
def large_codes(x: Tensor) -> tuple[Tensor, Tensor]:
    """Your codes are right, but each takes eight bytes (int64, as argmin and bucketize give it).
    Keep them in one byte each: torch.uint8."""
    codes, scales = _quantize(x)
    return codes.long(), scales


@quantizing.misconception
def codes_alone(x: Tensor) -> Tensor:
    """Your codes come alone. Without the scales nobody can tell how large the weights were: return
    the codes, then the scales."""
    return _quantize(x)[0]


@quantizing.misconception
def zeros_as_lowest(x: Tensor) -> tuple[Tensor, Tensor]:
    """A block of zeros gets the code of −1 instead of that of 0. Its scale is 0, and 0/0 is NaN,
    which no comparison with a level can rank. Divide such a block by something else."""
    codes, scales = _quantize(x)
    return torch.where(scales[:, None] == 0, 0, codes), scales


@quantizing.misconception
def zeros_as_highest(x: Tensor) -> tuple[Tensor, Tensor]:
    """A block of zeros gets the code of 1 instead of that of 0. Its scale is 0, and 0/0 is NaN,
    which lies beyond every boundary. Divide such a block by something else."""
    codes, scales = _quantize(x)
    return torch.where(scales[:, None] == 0, 15, codes), scales


@dequantizing.misconception
def not_multiplied(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You return the levels without the scales: every block reaches 1. Multiply each block by its
    scale."""
    return _dequantize(codes, torch.ones_like(scales), shape)


@dequantizing.misconception
def divided(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You divide by the scales. quantize_nf4 has divided by them; multiply to undo it."""
    return _dequantize(codes, 1 / scales, shape)


@dequantizing.misconception
def first_scale(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You multiply all blocks by the first one's scale. Each has its own."""
    return _dequantize(codes, scales[:1].expand(len(scales)), shape)


@dequantizing.misconception
def scales_along_blocks(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You line the scales up with the 64 numbers inside a block. There is one scale for each block:
    one for each row of the codes, so it needs an axis of size 1 behind it."""
    levels = NF4_LEVELS.to(scales)[codes.long()] * scales
    return levels.flatten()[: math.prod(shape)].view(shape)


@dequantizing.misconception
def codes_as_numbers(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You multiply the scales by the codes. A code is a place in a table: look the level up in
    NF4_LEVELS."""
    return (codes * scales[:, None]).flatten()[: math.prod(shape)].view(shape)


@dequantizing.misconception
def even_steps(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You turn codes into evenly spaced numbers from −1 to 1. The levels of NF4 are not: look them
    up in NF4_LEVELS."""
    return ((codes / 7.5 - 1) * scales[:, None]).flatten()[: math.prod(shape)].view(shape)


@dequantizing.misconception
def padding_kept(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You do not cut the padding off: where 64 does not divide how many numbers there are, there
    are too many to have the shape. Keep the first ones, as many as the shape holds."""
    return _scaled(codes, scales).reshape(shape)


@dequantizing.misconception
def still_in_blocks(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You return blocks of 64. Give the numbers back their shape, without the padding at the
    end."""
    return _scaled(codes, scales)


@dequantizing.misconception
def in_one_line(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You return all numbers in one line. Give them the shape that is asked for."""
    return _scaled(codes, scales).flatten()[: math.prod(shape)]


@dequantizing.misconception
def cut_in_front(codes: Tensor, scales: Tensor, shape: tuple[int, ...]) -> Tensor:
    """You cut off as many numbers as needed, but the first ones. The padding is at the end."""
    return _scaled(codes, scales).flatten()[-math.prod(shape) :].view(shape)
