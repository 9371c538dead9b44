"""Softmax, as students get it wrong."""

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (draw(3, 5), -1),
        (draw(7, 5), 0),
        (draw(2, 5, 3), 1),
        (draw(7), 0),
        (draw(5, 7).double(), 1),
    ]


def _large_cases(draw: Draw) -> list[Arguments]:
    masked, apart, steep = draw(3, 5), draw(3, 7), draw(5, 7)
    masked[0, 2:] = masked[2, 0] = float("-inf")
    apart[0] += 200
    apart[2] -= 200
    steep[:, 3] += 95
    return [
        (draw(3, 5) + 300, -1),  # exp(300) is more than a float32 holds
        (draw(7, 3) - 300, 0),  # and exp(−300) less
        (draw(5, 11).double() + 1000, 1),
        (masked, -1),  # what attention hands over: −∞ where a query may not look
        (apart, 1),  # rows of very different size
        (steep, 1),  # one number far above the rest of its row
    ]


def _sums(result: Tensor, x: Tensor, dim: int) -> str | None:
    total = result.sum(dim)
    if torch.allclose(total, torch.ones_like(total), atol=1e-3):
        return None
    return (
        f"Every softmax sums to 1 along its own axis, here dim = {dim}; yours sums to "
        f"{total.flatten()[0]:.4g} the first time."
    )


def _reference(x: Tensor, dim: int) -> Tensor:
    return torch.softmax(x, dim)


def _by_hand(x: Tensor, dim: int) -> Tensor:
    """What a student would write."""
    powers = (x - x.amax(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


softmax = Exercise("softmax", _reference, finished=("softmax", "Softmax", "log_softmax"))
softmax.part("softmax", 1, _cases, laws=(_sums,))
softmax.part("softmax_large", 1, _large_cases, laws=(_sums,))


@softmax.misconception
def without_maximum(x: Tensor, dim: int) -> Tensor:
    """Your formula is right on small numbers, but overflows or underflows on large ones: exp(300)
    is inf in float32, and inf / inf is NaN. Shift x first by something that makes every exponent
    ≤ 0 and cancels in the quotient. See 'Softmax without overflow' in the exercise."""
    return x.exp() / x.exp().sum(dim, keepdim=True)


@softmax.misconception
def largest_of_all(x: Tensor, dim: int) -> Tensor:
    """You subtract the largest number of the whole tensor. That cancels too, but where one row is
    far below another, all its exponentials become 0, and 0 / 0 is NaN. Each row along dim needs a
    maximum of its own."""
    powers = (x - x.max()).exp()
    return powers / powers.sum(dim, keepdim=True)


@softmax.misconception
def smallest_subtracted(x: Tensor, dim: int) -> Tensor:
    """You subtract the smallest number of each row, so that no exponent is below 0. Overflow comes
    from those above 0: subtract the largest."""
    powers = (x - x.amin(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


@softmax.misconception
def mean_subtracted(x: Tensor, dim: int) -> Tensor:
    """You subtract the mean of each row. It cancels, but it is −∞ as soon as one number is; and an
    exponent above 0 can still overflow. Subtract the largest."""
    powers = (x - x.mean(dim, keepdim=True)).exp()
    return powers / powers.sum(dim, keepdim=True)


@softmax.misconception
def always_last_axis(x: Tensor, dim: int) -> Tensor:
    """Your result is the softmax over the last axis, whatever dim says. Every maximum and every
    sum has to be taken along dim."""
    return _by_hand(x, -1)


@softmax.misconception
def always_first_axis(x: Tensor, dim: int) -> Tensor:
    """Your result is the softmax over the first axis, whatever dim says. Every maximum and every
    sum has to be taken along dim."""
    return _by_hand(x, 0)


@softmax.misconception
def over_everything(x: Tensor, dim: int) -> Tensor:
    """Your result sums to 1 over the whole tensor. It should sum to 1 along dim: each row (or
    column) is a distribution of its own. Look at the sum in the denominator."""
    return _by_hand(x.flatten(), 0).reshape(x.shape)


@softmax.misconception
def without_normalising(x: Tensor, dim: int) -> Tensor:
    """Your values are exp(x − max), not divided by their sum. Probabilities must sum to 1."""
    return (x - x.amax(dim, keepdim=True)).exp()


@softmax.misconception
def only_exp(x: Tensor, dim: int) -> Tensor:
    """Your values are exp(x), not divided by their sum. Probabilities must sum to 1."""
    return x.exp()


@softmax.misconception
def without_exp(x: Tensor, dim: int) -> Tensor:
    """You divide x itself by its sum. Softmax takes exp first, which makes every value positive:
    yours can be negative."""
    return x / x.sum(dim, keepdim=True)


@softmax.misconception
def shifted_without_exp(x: Tensor, dim: int) -> Tensor:
    """You subtract the maximum and divide by the sum, but exp is missing between the two."""
    x = x - x.amax(dim, keepdim=True)
    return x / x.sum(dim, keepdim=True)


@softmax.misconception
def divided_by_maximum(x: Tensor, dim: int) -> Tensor:
    """You divide by the largest exponential instead of by the sum of all of them: your largest
    value is always 1."""
    return x.exp() / x.exp().amax(dim, keepdim=True)


@softmax.misconception
def divided_by_count(x: Tensor, dim: int) -> Tensor:
    """You divide by how many values there are (or take a mean) instead of by the sum of their
    exponentials."""
    return (x - x.amax(dim, keepdim=True)).exp() / x.size(dim)


@softmax.misconception
def mixed_maximum_and_sum(x: Tensor, dim: int) -> Tensor:
    """The maximum that you subtract is not in your denominator: numerator and denominator have to
    be shifted by the same number, else it does not cancel."""
    return (x - x.amax(dim, keepdim=True)).exp() / x.exp().sum(dim, keepdim=True)


@softmax.misconception
def log_softmax(x: Tensor, dim: int) -> Tensor:
    """Your result is the logarithm of softmax. It is useful for a loss, but attention mixes with
    the probabilities themselves."""
    return x - x.logsumexp(dim, keepdim=True)


@softmax.misconception
def sigmoid(x: Tensor, dim: int) -> Tensor:
    """Your result is the sigmoid of each value on its own. Softmax compares the values along dim
    with each other: raising one lowers all others."""
    return torch.sigmoid(x)


@softmax.misconception
def sum_without_keepdim(x: Tensor, dim: int) -> Tensor:
    """The maximum or the sum loses the axis that it runs over, so that it no longer lines up with
    x. Ask it to keep that axis (with size 1), and broadcasting does the rest."""
    shifted = (x - x.amax(dim, keepdim=True)).exp()
    return shifted / shifted.sum(dim)


@softmax.misconception
def maximum_without_keepdim(x: Tensor, dim: int) -> Tensor:
    """The maximum or the sum loses the axis that it runs over, so that it no longer lines up with
    x. Ask it to keep that axis (with size 1), and broadcasting does the rest."""
    shifted = (x - x.amax(dim)).exp()
    return shifted / shifted.sum(dim, keepdim=True)


@softmax.misconception
def maximum_with_its_index(x: Tensor, dim: int) -> Tensor:
    """Along an axis, torch.max returns two things, the values and where they are; you subtract
    both at once. Take the values only, or use the function that returns nothing else (amax)."""
    return (x - x.max(dim, keepdim=True)).exp()  # type: ignore[operator]
