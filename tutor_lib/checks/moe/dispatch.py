"""Lining up the choices of all tokens by expert, as students get it wrong."""

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.moe.speed import LOOPS, loops, more
from tutor_lib.checks.run import Complaint

Pair = tuple[Tensor, Tensor]


def _experts(draw: Draw, n_tokens: int, n_experts: int, k: int) -> Tensor:
    """k different experts for each token, as a router would choose them."""
    return draw(n_tokens, n_experts).topk(k).indices


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (_experts(draw, 3, 3, 2), 3),  # (N, k), E
        (_experts(draw, 11, 5, 2), 5),
        (_experts(draw, 5, 5, 5), 5),  # N = k = E: a wrong axis fits as well
        (_experts(draw, 7, 3, 2), 13),  # nobody wants the last experts
        (_experts(draw, 13, 7, 3) + 4, 11),  # nor here the first
        (_experts(draw, 17, 5, 1), 5),
        (_experts(draw, 1, 11, 3), 11),
    ]


def _reference(experts: Tensor, n_experts: int) -> Pair:
    flat = experts.flatten()
    return flat.argsort(stable=True), flat.bincount(minlength=n_experts)


def _sums(result: Pair, experts: Tensor, n_experts: int) -> str | None:
    if result[1].sum() == experts.numel():
        return None
    return (
        f"All lengths together are the number of choices, {experts.numel()}; yours sum to "
        f"{result[1].sum()}."
    )


def _permutes(result: Pair, experts: Tensor, n_experts: int) -> str | None:
    if torch.equal(result[0].sort().values.cpu(), torch.arange(experts.numel())):
        return None
    return "Each number from 0 to N k − 1 comes once in the order; in yours some are missing."


def _stable(result: Pair, experts: Tensor, n_experts: int) -> str | None:
    in_order = experts.flatten()[result[0]]
    if (in_order[1:] < in_order[:-1]).any():
        return None
    return (
        "Each queue holds the right choices, but not in the order of their numbers. Is your sort a "
        "stable one?"
    )


def _speed(dispatch: Any, few: Tensor, many: Tensor, n_experts: int) -> Any:
    result = dispatch(many, n_experts)
    order = result[0] if isinstance(result, tuple | list) and result else result
    if not isinstance(order, Tensor) or not order.ndim:
        raise Complaint("There is no order in what your function returns yet.")
    return more(dispatch, (few, n_experts), (many, n_experts)), len(order)


def _looped(result: Any, few: Tensor, many: Tensor, n_experts: int) -> tuple[bool, int]:
    costs, length = result
    return loops(costs, len(many) - len(few)), length


def _many(draw: Draw) -> list[Arguments]:
    return [(_experts(draw, 17, 3, 2), _experts(draw, 89, 3, 2), 3)]


dispatch = Exercise("dispatch", _reference, welcome=("tutor_lib.checks.moe.speed",), learns=False)
RESULTS = ("the order", "the tensor of lengths")
dispatch.part("dispatch", 2, _cases, results=RESULTS, laws=(_permutes, _stable, _sums))
SPEED = (LOOPS, "the length of the order")
dispatch.part("dispatch_speed", 1, _many, _speed, SPEED, reading=_looped)


@dispatch.misconception
def loops_over_choices(experts: Tensor, n_experts: int) -> Pair:
    """The result is right, but your Python walks through the tokens one by one: the more tokens,
    the more lines run. A batch has thousands, and a GPU would wait for Python at each. Let one
    PyTorch call work on all of them; a loop over the few experts is fine."""
    order: list[int] = []
    lengths = []
    for e in range(n_experts):
        queue = [i for i, expert in enumerate(experts.flatten().tolist()) if expert == e]
        order += queue
        lengths.append(len(queue))
    return torch.tensor(order, device=experts.device), torch.tensor(lengths, device=experts.device)


@dispatch.misconception
def tokens_not_choices(experts: Tensor, n_experts: int) -> Pair:
    """Your order names tokens, so each comes k times. It should number the choices: choice i of
    token n is number n k + i. Only so can the weight of a choice be found again."""
    order, lengths = _reference(experts, n_experts)
    return order // experts.size(1), lengths


@dispatch.misconception
def slots_not_choices(experts: Tensor, n_experts: int) -> Pair:
    """Your order says which of its token's k choices each one is, not whose. Choice i of token n
    has the number n k + i."""
    order, lengths = _reference(experts, n_experts)
    return order % experts.size(1), lengths


@dispatch.misconception
def column_by_column(experts: Tensor, n_experts: int) -> Pair:
    """You number the choices column by column: all first choices, then all second ones. Number
    them row by row: choice i of token n is number n k + i."""
    return _reference(experts.T, n_experts)


@dispatch.misconception
def sorted_experts(experts: Tensor, n_experts: int) -> Pair:
    """Your order holds the experts' numbers, sorted. It should hold the numbers of the choices:
    where each of these sorted values stood before. Sorting can give you both."""
    return experts.flatten().sort().values, _reference(experts, n_experts)[1]


@dispatch.misconception
def flat_experts(experts: Tensor, n_experts: int) -> Pair:
    """Your order is the list of chosen experts itself, not sorted. It should hold the numbers of
    the choices, those for expert 0 first."""
    return experts.flatten(), _reference(experts, n_experts)[1]


@dispatch.misconception
def inverse(experts: Tensor, n_experts: int) -> Pair:
    """Your order is the inverse of the right one: it says at which place each choice ends up.
    Asked is which choice stands at each place."""
    order, lengths = _reference(experts, n_experts)
    return order.argsort(), lengths


@dispatch.misconception
def last_expert_first(experts: Tensor, n_experts: int) -> Pair:
    """You line up the choices from the last expert to the first. Expert 0 comes first, as its
    length does."""
    return _reference(n_experts - 1 - experts, n_experts)


@dispatch.misconception
def order_descending(experts: Tensor, n_experts: int) -> Pair:
    """Your order runs from the last expert to the first, while the lengths run from the first to
    the last. Expert 0 comes first in both."""
    lengths = _reference(experts, n_experts)[1]
    return experts.flatten().argsort(descending=True, stable=True), lengths


@dispatch.misconception
def late_choices_first(experts: Tensor, n_experts: int) -> Pair:
    """Within one expert's queue your choices stand in falling order. Those of one expert keep the
    order of their numbers: a sort that is stable leaves equals as they stood."""
    order, lengths = _reference(experts.flatten().flip(0), n_experts)
    return experts.numel() - 1 - order, lengths


@dispatch.misconception
def first_choices_only(experts: Tensor, n_experts: int) -> Pair:
    """You line up the first choice of each token only. All k choices are dispatched."""
    return _reference(experts[:, :1], n_experts)


@dispatch.misconception
def sorted_within_tokens(experts: Tensor, n_experts: int) -> Pair:
    """You sorted the choices within each token. Sort all choices of all tokens together: the queue
    of an expert holds choices of many tokens."""
    return experts.argsort(-1).flatten(), _reference(experts, n_experts)[1]


@dispatch.misconception
def idle_experts_left_out(experts: Tensor, n_experts: int) -> Pair:
    """Experts that nobody chose have no length in your result. They have a queue too, of length 0:
    there are always n_experts lengths."""
    order, lengths = _reference(experts, n_experts)
    return order, lengths[lengths > 0]


@dispatch.misconception
def last_idle_experts_left_out(experts: Tensor, n_experts: int) -> Pair:
    """Your lengths end at the last expert that was chosen; those after it are missing. There are
    always n_experts lengths, some of them 0."""
    flat = experts.flatten()
    return flat.argsort(stable=True), flat.bincount()


@dispatch.misconception
def ends_not_lengths(experts: Tensor, n_experts: int) -> Pair:
    """You return where each queue ends, the running sum of the lengths. Asked is how long each
    is."""
    order, lengths = _reference(experts, n_experts)
    return order, lengths.cumsum(0)


@dispatch.misconception
def starts_not_lengths(experts: Tensor, n_experts: int) -> Pair:
    """You return where each queue starts. Asked is how long each is."""
    order, lengths = _reference(experts, n_experts)
    return order, lengths.cumsum(0) - lengths


@dispatch.misconception
def shares_not_lengths(experts: Tensor, n_experts: int) -> Pair:
    """You return the share of the choices that each expert gets. Asked is their number, an
    integer."""
    order, lengths = _reference(experts, n_experts)
    return order, lengths / experts.numel()


@dispatch.misconception
def exchanged(experts: Tensor, n_experts: int) -> Pair:
    """Both results are right, in the wrong order. Return the order first, then the lengths."""
    order, lengths = _reference(experts, n_experts)
    return lengths, order


@dispatch.misconception
def only_order(experts: Tensor, n_experts: int) -> Tensor:
    """The order is right, but it comes alone. Return two things: the order, then the lengths."""
    return _reference(experts, n_experts)[0]
