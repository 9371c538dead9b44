"""What equal values do not show: whether a result can be learned through, and works on a GPU."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.compare import close
from tutor_lib.checks.elsewhere import Elsewhere, WrongDevice, is_here, tensors_in
from tutor_lib.checks.run import Outcome, run

Function = Callable[..., Any]

NO_GRADIENT = (
    "The values are right, but {part} carries no gradient: nothing before it could learn. Did the "
    "numbers leave PyTorch on the way (.item(), .tolist(), .numpy(), torch.tensor), or is there a "
    ".detach(), a .data or a no_grad()?"
)
OTHER_GRADIENT = (
    "The values are right, but the gradient that reaches {name} is not: part of the computation is "
    "hidden from it. Look for .detach(), .data, .item(), a no_grad(), or values put into a new "
    "tensor."
)
NO_WAY_BACK = (
    "The values are right, but nothing can learn through them: the gradient cannot go back through "
    "your code. Is one of your own tensors changed in place (/=, +=, a slice) after it was used? "
    "Make a new tensor there."
)
FAILS_IN_TRAINING = (
    "The values are right, but with tensors that ask for a gradient, as in training, {where}\n\n"
    "Stay with PyTorch's functions, and make new tensors instead of changing old ones."
)
NOT_MOVED = (
    "This works on a CPU, but on a GPU your result would lie on the CPU, away from its arguments. "
    "Give the tensor that you make the device of an argument: device=x.device."
)


def learns(ours: Function, theirs: Function, case: tuple[Any, ...], names: list[str]) -> str | None:
    """What keeps the gradient from flowing as in `ours`, or None.

    `names` are those of the arguments. A case is run with each floating-point argument
    requiring a gradient, and a fixed weighting of all results is differentiated.
    """
    our_leaves, outcome = _forward(ours, case)
    our_results = _floats(outcome)
    if not our_leaves or not any(r.requires_grad for r in our_results):
        return None
    their_leaves, outcome = _forward(theirs, case)
    if outcome.error is not None:
        return FAILS_IN_TRAINING.format(where=outcome.where())
    their_results = _floats(outcome)
    for number, (our, their) in enumerate(zip(our_results, their_results, strict=True)):
        if our.requires_grad and not their.requires_grad:
            part = "the result" if len(our_results) == 1 else f"result number {number + 1}"
            return NO_GRADIENT.format(part=part)
    ours_back = _gradients(our_leaves, our_results)
    try:
        theirs_back = _gradients(their_leaves, their_results)
    except RuntimeError:  # autograd's own words are about versions of tensors
        return NO_WAY_BACK
    for place, our, their in zip(our_leaves, ours_back, theirs_back, strict=True):
        if not close(our, their).all():
            return OTHER_GRADIENT.format(name=names[place])
    return None


def _forward(function: Function, case: tuple[Any, ...]) -> tuple[dict[int, Tensor], Outcome]:
    """The leaves by position, and what came of the call."""
    floats = {i: a for i, a in enumerate(case) if isinstance(a, Tensor) and a.is_floating_point()}
    leaves = {i: a.clone().requires_grad_() for i, a in floats.items()}
    with torch.enable_grad():
        outcome = run(function, tuple(leaves.get(i, a) for i, a in enumerate(case)))
    return leaves, outcome


def _floats(outcome: Outcome) -> list[Tensor]:
    return [r for r in tensors_in([outcome.value]) if r.is_floating_point()]


def _gradients(leaves: dict[int, Tensor], results: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for result in results:
        weights = torch.randn(result.shape, generator=generator)
        if result.requires_grad:
            total = total + (result * weights.to(result)).sum()
    return list(torch.autograd.grad(total, [*leaves.values()], materialize_grads=True))


def moves(theirs: Function, case: tuple[Any, ...]) -> str | None:
    """What would go wrong if the arguments lay on a GPU, or None."""
    if not any(isinstance(argument, Tensor) for argument in case):
        return None  # what is asked for without a tensor may lie where the student likes
    with Elsewhere():
        outcome = run(theirs, case)
    if isinstance(outcome.error, WrongDevice):
        return f"This works on a CPU. On a GPU it would fail: {outcome.error}{outcome.place()}"
    return NOT_MOVED if any(map(is_here, tensors_in([outcome.value]))) else None
