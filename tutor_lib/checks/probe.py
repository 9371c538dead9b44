"""What equal values do not show: whether a result can be learned through, and works on a GPU."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.compare import matches
from tutor_lib.checks.elsewhere import Elsewhere, WrongDevice, is_here, tensors_in
from tutor_lib.checks.plain import pack, unpack
from tutor_lib.checks.run import Outcome, Raised, run

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


Back = tuple[Any, list[bool], Any]


@torch.enable_grad()  # the notebook may have switched it off around the check
def back(function: Function, case: tuple[Any, ...]) -> Back:
    """What goes back through `function`, told plainly. Runs beside the answer.

    The case is run with each floating-point argument requiring a gradient, and a fixed weighting
    of all results is differentiated. Returned are the error that this raises, if any; which of
    the results carry a gradient; and the gradient of each argument, or None where it cannot go
    back.
    """
    arguments, outcome = _forward(function, case)
    results = [*filter(_is_float, tensors_in([outcome.value]))]
    carries = [result.requires_grad for result in results]
    if not any(carries) or all(a is None for a in arguments):
        return outcome.plain()[1], carries, None
    try:
        return None, carries, pack(_gradients(arguments, results))
    except RuntimeError:  # autograd's own words are about versions of tensors
        return None, carries, None


def gradients(student: Function, *arguments: Any) -> tuple[Any, ...]:
    """The result, and the gradient of its sum by each argument that asks for one.

    For hidden tests; runs beside the answer.
    """
    result = student(*arguments)
    leaves = [a for a in arguments if isinstance(a, Tensor) and a.requires_grad]
    return result.detach(), *torch.autograd.grad(result.sum(), leaves)


def learns(ours: Back, theirs: Back, names: list[str]) -> str | None:
    """What keeps the gradient from flowing as in `ours`, or None; `names` are of the arguments."""
    if not any(ours[1]) or ours[2] is None:
        return None
    if theirs[0] is not None:
        return FAILS_IN_TRAINING.format(where=Raised(*theirs[0]).where())
    for number, (our, their) in enumerate(zip(ours[1], theirs[1], strict=True)):
        if our and not their:
            part = "the result" if len(ours[1]) == 1 else f"result number {number + 1}"
            return NO_GRADIENT.format(part=part)
    if theirs[2] is None:
        return NO_WAY_BACK
    pairs = zip(unpack(ours[2]), unpack(theirs[2]), strict=True)
    wrong = (name for name, pair in zip(names, pairs, strict=False) if not matches(*pair))
    return next((OTHER_GRADIENT.format(name=name) for name in wrong), None)


def _forward(function: Function, case: tuple[Any, ...]) -> tuple[list[Any], Outcome]:
    """The arguments, with None in place of those that are no leaves, and what came of the call."""
    leaves = [a.clone().requires_grad_() if _is_float(a) else None for a in case]
    pairs = zip(leaves, case, strict=True)
    outcome = run(function, tuple(a if leaf is None else leaf for leaf, a in pairs))
    return leaves, outcome


def _is_float(x: Any) -> bool:
    return isinstance(x, Tensor) and x.is_floating_point()


def _gradients(arguments: list[Any], results: list[Tensor]) -> list[Any]:
    """The gradient of each argument that is a leaf, None for the others."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros(())
    for result in results:
        weights = torch.randn(result.shape, generator=generator)
        if result.requires_grad:
            total = total + (result * weights.to(result)).sum()
    leaves = [a for a in arguments if a is not None]
    found = iter(torch.autograd.grad(total, leaves, materialize_grads=True))
    return [None if a is None else next(found) for a in arguments]


def moved(function: Function, case: tuple[Any, ...]) -> tuple[Any, bool]:
    """The error that `function` would raise on a GPU, told plainly, and whether its result would
    lie on the CPU there. Runs beside the answer."""
    if not any(isinstance(argument, Tensor) for argument in case):
        return None, False  # what is asked for without a tensor may lie where the student likes
    with Elsewhere():
        outcome = run(function, case)
    return outcome.plain()[1], any(map(is_here, tensors_in([outcome.value])))


def moves(moved: tuple[Any, bool]) -> str | None:
    """What would go wrong if the arguments lay on a GPU, or None."""
    error = moved[0] and Raised(*moved[0])
    if error and error.is_a(WrongDevice):
        return f"This works on a CPU. On a GPU it would fail: {error.text}{error.place()}"
    return NOT_MOVED if moved[1] else None
