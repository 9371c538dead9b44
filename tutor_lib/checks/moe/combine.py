"""Bringing the experts' answers back to their tokens, as students get it wrong."""

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.moe.speed import LOOPS, loops, more
from tutor_lib.checks.run import Complaint


def _case(draw: Draw, n_tokens: int, k: int, d_model: int) -> Arguments:
    order = draw(n_tokens * k).argsort()
    # Where choices were dropped, the weights of a token sum to less than 1.
    weights = draw(n_tokens, k).sigmoid()
    weights[0, -1] = 0
    return draw(n_tokens * k, d_model), order, weights


def _cases(draw: Draw) -> list[Arguments]:
    return [
        _case(draw, 3, 2, 4),  # (N k, C), (N k), (N, k)
        _case(draw, 7, 3, 5),
        _case(draw, 3, 7, 2),
        _case(draw, 5, 5, 25),  # N = k and N k = C: mix-ups still fit
        _case(draw, 11, 1, 3),
        _case(draw, 1, 5, 1),
        tuple(t.double() if t.is_floating_point() else t for t in _case(draw, 5, 2, 3)),
    ]


def _reference(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    n_tokens, k = weights.shape
    weighted = answers * weights.flatten()[order].unsqueeze(-1)
    return answers.new_zeros(n_tokens, answers.size(1)).index_add(0, order // k, weighted)


def _speed(combine: Any, few: Arguments, many: Arguments) -> Any:
    result = combine(*many)
    if not isinstance(result, Tensor) or not result.ndim or not result.any():
        raise Complaint("There are no mixed answers in what your function returns yet.")
    return more(combine, few, many), len(result)


def _looped(result: Any, few: Arguments, many: Arguments) -> tuple[bool, int]:
    costs, length = result
    return loops(costs, len(many[2]) - len(few[2])), length


def _many(draw: Draw) -> list[Arguments]:
    return [(_case(draw, 17, 2, 3), _case(draw, 89, 2, 3))]


combine = Exercise("combine", _reference, welcome=("tutor_lib.checks.moe.speed",))
combine.part("combine", 2, _cases, results=("the output",))
SPEED = (LOOPS, "the number of rows")
combine.part("combine_speed", 1, _many, _speed, SPEED, reading=_looped)


@combine.misconception
def loops_over_tokens(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """The result is right, but your Python walks through the tokens one by one: the more tokens,
    the more lines run. Let one PyTorch call move or add all rows; a loop over the k choices is
    fine."""
    k = weights.size(1)
    out = answers.new_zeros(len(weights), answers.size(1))
    for place, choice in enumerate(order.tolist()):
        out[choice // k] = out[choice // k] + weights[choice // k, choice % k] * answers[place]
    return out


@combine.misconception
def still_in_line(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You take the answers as if they stood in the order of the choices: k rows for token 0, then
    k for token 1. But they still stand in line by expert. `order` says which choice each row
    answers."""
    return (answers.view(*weights.shape, -1) * weights.unsqueeze(-1)).sum(1)


@combine.misconception
def order_applied_again(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You pick rows by `order`, which lines them up once more instead of undoing it. Row j of the
    answers belongs to choice order[j]: put it there, or use the inverse of the order."""
    return still_in_line(answers[order], order, weights)


@combine.misconception
def overwritten(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """A token's answers overwrite each other: of its k experts only the last one's remains. An
    assignment to rows that come several times keeps one of them; the answers are to be added
    up."""
    weighted = answers * weights.flatten()[order].unsqueeze(-1)
    out = answers.new_zeros(len(weights), answers.size(1))
    for place, choice in enumerate(order.tolist()):
        out[choice // weights.size(1)] = weighted[place]
    return out


@combine.misconception
def added_once(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """Only the first answer of each token in line arrives; the others are lost. Each token adds up
    its k answers."""
    k = weights.size(1)
    out = answers.new_zeros(len(weights), answers.size(1))
    for place, choice in reversed([*enumerate(order.tolist())]):
        out[choice // k] = weights[choice // k, choice % k] * answers[place]
    return out


@combine.misconception
def weights_not_lined_up(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """Each answer finds its token, but with another choice's weight: the weights stand token by
    token, the answers by expert. Bring both into one order before you multiply."""
    weighted = answers * weights.flatten().unsqueeze(-1)
    out = answers.new_zeros(len(weights), answers.size(1))
    return out.index_add(0, order // weights.size(1), weighted)


@combine.misconception
def without_weights(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You add up the answers as they are: the weights are not used. Each answer counts with the
    weight of its choice."""
    return _reference(answers, order, torch.ones_like(weights))


@combine.misconception
def plain_mean(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You take the plain mean of each token's answers: the weights are not used. Each answer
    counts with the weight of its choice."""
    return _reference(answers, order, torch.full_like(weights, 1 / weights.size(1)))


@combine.misconception
def averaged(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You divide the weighted sum by k: a mean instead of a sum. The weights share out a full 1
    already."""
    return _reference(answers, order, weights) / weights.size(1)


@combine.misconception
def renormalised(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You divide by the sum of a token's weights. Take them as they are: the gate has made them
    sum to 1, and where a choice is dropped later, the sum shall stay smaller."""
    return _reference(answers, order, weights / weights.sum(1, keepdim=True))


@combine.misconception
def weights_squared(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """Each answer is multiplied by its weight twice. Once is enough."""
    return _reference(answers, order, weights**2)


@combine.misconception
def remainder_for_quotient(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You give choice c to the token c modulo N. The choices are numbered row by row, k of each
    token: whose is number c?"""
    weighted = answers * weights.flatten()[order].unsqueeze(-1)
    out = answers.new_zeros(len(weights), answers.size(1))
    return out.index_add(0, order % len(weights), weighted)


@combine.misconception
def column_by_column(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You read the choices as numbered column by column: all first choices, then all second ones.
    They are numbered row by row: choice i of token n is number n k + i."""
    back = torch.zeros_like(answers).index_copy(0, order, answers)
    return (back.view(weights.size(1), len(weights), -1) * weights.T.unsqueeze(-1)).sum(0)


@combine.misconception
def first_choices_only(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """Of each token's answers only that of its first choice arrives. Sum over all k."""
    return _reference(answers, order, weights * (torch.arange(weights.size(1)) == 0))


@combine.misconception
def one_row_a_choice(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """You return a row for each choice, N k in all. The k rows of a token are still to be added
    up."""
    return answers * weights.flatten()[order].unsqueeze(-1)


@combine.misconception
def three_axes(answers: Tensor, order: Tensor, weights: Tensor) -> Tensor:
    """The weighted answers are right and in place, but the k of each token still stand side by
    side. Add them up."""
    back = torch.zeros_like(answers).index_copy(0, order, answers)
    return back.view(*weights.shape, -1) * weights.unsqueeze(-1)
