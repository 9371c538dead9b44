"""Rotary position embedding, as students get it wrong."""

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw


def _pair_cases(draw: Draw) -> list[Arguments]:
    """With D = 2 there is one pair, and its frequency is 1 whatever the base."""
    return [
        (draw(5, 2), 10_000.0),
        (draw(2, 3, 7, 2), 10_000.0),
        (draw(11, 2).double(), 500.0),
        (draw(1, 2), 10_000.0),  # position 0 is not turned
    ]


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (draw(5, 8), 10_000.0),
        (draw(2, 3, 7, 10), 10_000.0),
        (draw(3, 11, 14), 500.0),
        (draw(13, 6).double(), 17.0),
        (draw(6, 6), 100.0),  # T = D: positions along the wrong axis still fit
    ]


def _positions(x: Tensor) -> Tensor:
    return torch.arange(x.size(-2), dtype=x.dtype, device=x.device)[:, None]


def _frequencies(x: Tensor, base: float) -> Tensor:
    """θ_i = base^(−2i/D), i = 0 … D/2 − 1."""
    D = x.size(-1)
    return base ** (-torch.arange(0, D, 2, dtype=x.dtype, device=x.device) / D)


def _angles(x: Tensor, base: float) -> Tensor:
    return _positions(x) * _frequencies(x, base)


def _turn(x: Tensor, angles: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)


def _turn_whole(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """With as many cosines as numbers, as Hugging Face writes it."""
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


def _reference(x: Tensor, base: float = 10_000.0) -> Tensor:
    return _turn(x, _angles(x, base))


def _lengths(result: Tensor, x: Tensor, base: float) -> str | None:
    if torch.allclose(result.norm(dim=-1), x.norm(dim=-1), rtol=1e-3):
        return None
    return "A rotation keeps the length of every vector; yours changes it."


def _first(result: Tensor, x: Tensor, base: float) -> str | None:
    if torch.allclose(result[..., 0, :], x[..., 0, :], rtol=1e-3, atol=1e-4):
        return None
    return "The vector at position 0 is turned by an angle of 0: it stays as it is."


rotate = Exercise("rotate", _reference)
LAWS = (_lengths, _first)
rotate.part("rotate_pair", 1, _pair_cases, laws=LAWS)
rotate.part("rotate", 2, _cases, laws=LAWS)


@rotate.misconception
def interleaved(x: Tensor, base: float = 10_000.0) -> Tensor:
    """You pair neighbours, numbers 2i and 2i + 1: the layout of the RoPE paper. Here number i
    belongs with number i + D/2: the first half with the second. Both work, but a model that was
    trained with one is garbled by the other."""
    angles, even, odd = _angles(x, base), x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos(), angles.sin()
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)


@rotate.misconception
def angles_of_neighbours(x: Tensor, base: float = 10_000.0) -> Tensor:
    """You pair halves, but give equal angles to neighbours (repeat_interleave): two layouts mixed.
    Numbers i and i + D/2 are one pair, so they share one angle."""
    angles = _angles(x, base).repeat_interleave(2, -1)
    return _turn_whole(x, angles.cos(), angles.sin())


@rotate.misconception
def neighbours_with_angles_of_halves(x: Tensor, base: float = 10_000.0) -> Tensor:
    """You pair neighbours, but give equal angles to i and i + D/2: two layouts mixed. Here number
    i belongs with number i + D/2 throughout."""
    angles = _angles(x, base).repeat(1, 2)
    crossed = torch.stack((-x[..., 1::2], x[..., 0::2]), -1).flatten(-2)
    return x * angles.cos() + crossed * angles.sin()


@rotate.misconception
def frequencies_too_close(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your frequencies are base^(−i/D). The exponent is −2i/D: the last pair should turn almost
    base times as slowly as the first, yours only its root."""
    return _turn(x, _positions(x) * _frequencies(x, base).sqrt())


@rotate.misconception
def frequencies_too_far(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your frequencies are base^(−4i/D). The exponent is −2i/D: divide 2i by D, not by the number
    of pairs."""
    return _turn(x, _positions(x) * _frequencies(x, base) ** 2)


@rotate.misconception
def frequencies_inverted(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your frequencies grow from pair to pair: base^(2i/D). They should fall: the exponent is
    negative, −2i/D."""
    return _turn(x, _positions(x) / _frequencies(x, base))


@rotate.misconception
def frequencies_to_the_end(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your last frequency is 1/base. With the exponents −2i/D and i < D/2 it stays a step short
    of that; do not spread them evenly from 0 to −1, ends included."""
    exponents = torch.linspace(0, -1, x.size(-1) // 2, device=x.device)
    return _turn(x, _positions(x) * base**exponents)


@rotate.misconception
def frequencies_reversed(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your frequencies come in reverse order. Pair 0 turns fastest, by 1 radian a position; the
    last pair turns slowest."""
    return _turn(x, _angles(x, base).flip(-1))


@rotate.misconception
def one_frequency(x: Tensor, base: float = 10_000.0) -> Tensor:
    """You turn all pairs by the same angle, t. Pair i turns by t times its own frequency θ_i."""
    return _turn(x, _positions(x))


@rotate.misconception
def base_ignored(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your result is right for a base of 10,000 and stays the same for any other. Use the argument
    `base`."""
    return _reference(x)


@rotate.misconception
def from_one(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your positions count from 1. The first is 0, so the first vector stays as it is."""
    return _turn(x, _angles(x, base) + _frequencies(x, base))


@rotate.misconception
def other_way(x: Tensor, base: float = 10_000.0) -> Tensor:
    """You turn by −tθ. Scores between queries and keys that are both turned so look right; that is
    why this mistake often stays unseen. Which of the two sines has the minus?"""
    return _turn(x, -_angles(x, base))


@rotate.misconception
def without_minus(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Both of your sines have the same sign. A rotation has one with a minus; without it the
    vectors change their lengths."""
    angles, (left, right) = _angles(x, base), x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((left * cos + right * sin, right * cos + left * sin), -1)


@rotate.misconception
def halves_not_exchanged(x: Tensor, base: float = 10_000.0) -> Tensor:
    """You multiply each number by its own cosine and its own sine. In a rotation the sine belongs
    to the OTHER number of the pair: the halves change places in that term."""
    angles, (left, right) = _angles(x, base), x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((left * cos - left * sin, right * cos + right * sin), -1)


@rotate.misconception
def turned_half_used_again(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your first half is right; the second is made from the first half as it is AFTER the turn.
    Both formulas take the old numbers: keep them under a name of their own."""
    angles, (left, right) = _angles(x, base), x.chunk(2, -1)
    left = left * angles.cos() - right * angles.sin()
    right = right * angles.cos() + left * angles.sin()
    return torch.cat((left, right), -1)


@rotate.misconception
def first_half_alone(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your first half is right, and the second is as it was. Each pair is turned as a whole: both
    of its numbers change."""
    half = x.size(-1) // 2
    return torch.cat((_reference(x, base)[..., :half], x[..., half:]), -1)


@rotate.misconception
def sine_and_cosine_exchanged(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Sine and cosine have changed places. At an angle of 0 the cosine is 1 and the sine is 0, so
    the vector at position 0 should stay as it is."""
    angles, (left, right) = _angles(x, base), x.chunk(2, -1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((left * sin - right * cos, right * sin + left * cos), -1)


@rotate.misconception
def halves_returned_exchanged(x: Tensor, base: float = 10_000.0) -> Tensor:
    """The numbers are right, but your halves have changed places in the result."""
    left, right = _reference(x, base).chunk(2, -1)
    return torch.cat((right, left), -1)


@rotate.misconception
def whole_turns(x: Tensor, base: float = 10_000.0) -> Tensor:
    """Your angles are 2π times too large. A frequency θ is in radians a position: no 2π is
    needed."""
    return _turn(x, _angles(x, base) * 2 * torch.pi)


@rotate.misconception
def added(x: Tensor, base: float = 10_000.0) -> Tensor:
    """You add sines and cosines to x, as the first transformer did. RoPE multiplies: it turns each
    pair of numbers, and adds nothing."""
    angles = _angles(x, base)
    return x + torch.cat((angles.cos(), angles.sin()), -1)


@rotate.misconception
def by_axis_zero(x: Tensor, base: float = 10_000.0) -> Tensor:
    """You turn by the index along the first axis. Position is the index along the axis before the
    last, however many axes are in front of it."""
    return _reference(x.movedim(0, -2), base).movedim(-2, 0)
