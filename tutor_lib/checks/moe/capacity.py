"""How many choices an expert takes, and which are turned away, as students get it wrong."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.moe.speed import LOOPS, loops, more
from tutor_lib.checks.run import Complaint


def _sizes(draw: Draw) -> list[Arguments]:
    """Numbers of tokens and experts, k and factors that are exact in binary."""
    n = int(draw.ids(50, 1))
    return [
        (6, 4, 2, 1.25),
        (101 + n, 7, 3, 1.0),
        (53 + n, 5, 2, 1.5),
        (29, 13, 2, 1.25),
        (33, 13, 2, 1.25),  # to round before k or the factor comes in gives one more
        (64, 8, 2, 1.0),  # nothing to round
        (97 + n, 11, 1, 0.75),
        (3, 31, 1, 1.0),  # less than one each
    ]


def _capacity(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    return math.ceil(factor * n_tokens * k / n_experts)


expert_capacity = Exercise("expert_capacity", _capacity, learns=False)
expert_capacity.part("expert_capacity", 1, _sizes, results=("the capacity",))


@expert_capacity.misconception
def rounded_down(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You round down. Round up: with a factor of 1 and an even load there must be room for
    everybody."""
    return int(factor * n_tokens * k / n_experts)


@expert_capacity.misconception
def rounded_to_nearest(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You round to the nearest integer. Round up: with a factor of 1 and an even load there must
    be room for everybody."""
    return round(factor * n_tokens * k / n_experts)


@expert_capacity.misconception
def rounded_down_and_one(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You round down and add 1, which is one too many where nothing is left over."""
    return int(factor * n_tokens * k / n_experts) + 1


@expert_capacity.misconception
def not_rounded(n_tokens: int, n_experts: int, k: int, factor: float) -> float:
    """You do not round: a part of a choice has no place. Return an int, rounded up."""
    return factor * n_tokens * k / n_experts


@expert_capacity.misconception
def without_k(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You share out the tokens once. Each is sent to k experts, so there are N k choices to find
    room for."""
    return math.ceil(factor * n_tokens / n_experts)


@expert_capacity.misconception
def without_factor(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You leave out the capacity factor: this is the room for an even load."""
    return math.ceil(n_tokens * k / n_experts)


@expert_capacity.misconception
def factor_after_rounding(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You round up before you multiply by the factor. Round once, at the end."""
    return int(math.ceil(n_tokens * k / n_experts) * factor)


@expert_capacity.misconception
def rounded_up_twice(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You round up twice: before you multiply by the factor and after. Round once, at the end."""
    return math.ceil(math.ceil(n_tokens * k / n_experts) * factor)


@expert_capacity.misconception
def k_after_rounding(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You round up before you multiply by k. Round once, at the end."""
    return math.ceil(factor * n_tokens / n_experts) * k


@expert_capacity.misconception
def divided_by_k(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You divide by k. More choices a token need more room, not less: k multiplies."""
    return math.ceil(factor * n_tokens / (n_experts * k))


@expert_capacity.misconception
def room_for_all(n_tokens: int, n_experts: int, k: int, factor: float) -> int:
    """You leave out the number of experts: every expert gets room for all choices."""
    return math.ceil(factor * n_tokens * k)


def _case(draw: Draw, n_tokens: int, n_experts: int, k: int, capacity: int) -> Arguments:
    """Weights (N, k), experts (N, k), E and a capacity; the first experts are wanted most."""
    logits = draw(n_tokens, n_experts) - torch.arange(n_experts) / 2
    best = logits.topk(k)
    return best.values.softmax(-1), best.indices, n_experts, capacity


def _cases(draw: Draw) -> list[Arguments]:
    weights, *rest = _case(draw, 11, 3, 2, 5)
    return [
        _case(draw, 4, 3, 2, 2),
        _case(draw, 13, 5, 2, 3),
        _case(draw, 17, 7, 3, 5),
        _case(draw, 5, 5, 5, 2),  # N = k = E
        _case(draw, 7, 3, 1, 2),
        _case(draw, 11, 3, 2, 1),
        _case(draw, 5, 3, 2, 5),  # room for all
        (weights.double(), *rest),
    ]


def _places(queue: Tensor, n_experts: int) -> Tensor:
    """How many in the queue come before each one and want the same expert."""
    wants = functional.one_hot(queue, n_experts)
    return (wants.cumsum(0) - wants).gather(1, queue.unsqueeze(1)).squeeze(1)


def _before(experts: Tensor, n_experts: int) -> Tensor:
    """(N, k): how many come before each choice, all first choices being before the second ones."""
    return _places(experts.T.flatten(), n_experts).view_as(experts.T).T


def _reference(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    return weights.masked_fill(_before(experts, n_experts) >= capacity, 0)


def _speed(
    drop_overflow: Any,
    weights: Tensor,
    experts: Tensor,
    many_weights: Tensor,
    many_experts: Tensor,
    n_experts: int,
    capacity: int,
) -> Any:
    result = drop_overflow(many_weights, many_experts, n_experts, capacity)
    if not isinstance(result, Tensor) or not result.ndim or (result != 0).all():
        raise Complaint("Nothing is dropped in what your function returns yet.")

    few, many = (weights, experts), (many_weights, many_experts)
    costs = more(drop_overflow, (*few, n_experts, capacity), (*many, n_experts, capacity))
    return costs, len(result)


def _looped(result: Any, weights: Tensor, experts: Tensor, many: Tensor, *_: Any) -> Any:
    costs, length = result
    return loops(costs, len(many) - len(weights)), length


def _many(draw: Draw) -> list[Arguments]:
    few, many = _case(draw, 17, 3, 2, 7), _case(draw, 89, 3, 2, 7)
    return [(*few[:2], *many[:2], 3, 7)]


drop_overflow = Exercise("drop_overflow", _reference, welcome=("tutor_lib.checks.moe.speed",))
drop_overflow.part("drop_overflow", 2, _cases, results=("the weight matrix",))
SPEED = (LOOPS, "the number of rows")
drop_overflow.part("drop_overflow_speed", 1, _many, _speed, SPEED, reading=_looped)


@drop_overflow.misconception
def loops_over_choices(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """The result is right, but your Python walks through the tokens one by one: the more tokens,
    the more lines run. A running sum counts a whole queue at once."""
    served = [0] * n_experts
    kept = torch.zeros_like(weights)
    for i in range(weights.size(1)):
        for n, e in enumerate(experts[:, i].tolist()):
            kept[n, i] = 1 if served[e] < capacity else 0
            served[e] += 1
    return weights * kept


@drop_overflow.misconception
def token_by_token(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """Your queue runs token by token, so that a second choice may take the place of somebody's
    first choice. All first choices come before all second ones."""
    before = _places(experts.flatten(), n_experts).view_as(experts)
    return weights.masked_fill(before >= capacity, 0)


@drop_overflow.misconception
def queues_by_choice(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """First and second choices have queues of their own in your code, each as long as the
    capacity, so an expert may take k times too many. An expert has one queue: second choices are
    counted on from the first ones."""
    before = [_places(column, n_experts) for column in experts.unbind(1)]
    return weights.masked_fill(torch.stack(before, 1) >= capacity, 0)


@drop_overflow.misconception
def first_are_dropped(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """You keep those who come last and turn away the first. Who comes first is served."""
    flipped = experts.flip(0, 1)
    return weights.masked_fill(_before(flipped, n_experts).flip(0, 1) >= capacity, 0)


@drop_overflow.misconception
def last_tokens_first(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """Among the first choices, the last tokens of the batch come first in your queue. The tokens
    queue in the order in which they stand."""
    return weights.masked_fill(_before(experts.flip(0), n_experts).flip(0) >= capacity, 0)


@drop_overflow.misconception
def second_choices_first(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """The last choices of all tokens are served before the first ones. First choices come
    first."""
    return weights.masked_fill(_before(experts.flip(1), n_experts).flip(1) >= capacity, 0)


@drop_overflow.misconception
def one_too_few(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """Each expert turns away one too many. Does your count of who came before include the choice
    itself? Then the last to find room has number `capacity`, not `capacity` − 1."""
    return _reference(weights, experts, n_experts, capacity - 1)


@drop_overflow.misconception
def one_too_many(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """Each expert takes one too many. If as many as `capacity` came before, there is no room
    left."""
    return _reference(weights, experts, n_experts, capacity + 1)


@drop_overflow.misconception
def renormalised(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """The right choices are dropped, but you make the weights sum to 1 again. What is dropped
    stays missing: the expert that is left does not speak louder."""
    kept = _reference(weights, experts, n_experts, capacity)
    return kept / kept.sum(1, keepdim=True).clamp(min=1e-9)


@drop_overflow.misconception
def whole_tokens(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """Where one choice of a token finds no room, you drop all its choices. The others stay."""
    kept = _reference(weights, experts, n_experts, capacity)
    return kept.masked_fill((kept == 0).any(1, keepdim=True), 0)


@drop_overflow.misconception
def inverted(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """You keep the choices that find no room, and drop those that do."""
    return weights - _reference(weights, experts, n_experts, capacity)


@drop_overflow.misconception
def mask_returned(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """You return which choices find room. Return the weights, with 0 for those that do not."""
    return _before(experts, n_experts) < capacity


@drop_overflow.misconception
def one_queue_for_all(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """You let the first `capacity` choices pass, whichever expert they want. Each expert has a
    queue of its own, with that much room."""
    place = torch.arange(experts.numel(), device=experts.device).view_as(experts.T).T
    return weights.masked_fill(place >= capacity, 0)


@drop_overflow.misconception
def lightest_are_dropped(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """You turn away those with the smallest weights. That is done somewhere (batch-prioritised
    routing), but here who comes first is served."""
    order = weights.flatten().argsort(descending=True, stable=True)
    before = torch.empty_like(order)
    before[order] = _places(experts.flatten()[order], n_experts)
    return weights.masked_fill(before.view_as(weights) >= capacity, 0)


@drop_overflow.misconception
def nothing_dropped(weights: Tensor, experts: Tensor, n_experts: int, capacity: int) -> Tensor:
    """Your weights are those that came in: nothing is dropped. (A method without an
    underscore at its end returns a new tensor; it leaves the one it is called on.)"""
    return weights
