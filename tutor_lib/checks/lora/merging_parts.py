"""What is asked of merge and unmerge: a small model with adapters, before and after."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tutor_lib.checks.diagnose import Arguments
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.lora.layer import LoRALinear
from tutor_lib.checks.lora.layer_parts import linear
from tutor_lib.checks.run import Complaint

Change = Callable[[nn.Module], object]
Result = tuple[Tensor, Tensor, Tensor, bool, bool]


def _layer(W: Tensor, A: Tensor, B: Tensor, alpha: int | float) -> LoRALinear:
    layer = LoRALinear(linear(W, None), len(A), alpha)
    with torch.no_grad():
        layer.A.copy_(A)
        layer.B.copy_(B)
    return layer


def _model(W: Tensor, A: Tensor, B: Tensor, alpha: int | float) -> nn.Sequential:
    """Two adapted layers, the second deeper down, with the first one's matrices on their side."""
    deeper = nn.Sequential(nn.Tanh(), _layer(W.T, B.T, A.T, alpha))
    return nn.Sequential(_layer(W, A, B, alpha), deeper)


def _layers(model: nn.Sequential) -> tuple[LoRALinear, LoRALinear]:
    first, second = model[0], model.get_submodule("1.1")
    if not (isinstance(first, LoRALinear) and isinstance(second, LoRALinear)):
        raise Complaint(
            f"A LoRALinear of the model has become a {type(first).__name__}. The layers stay where "
            "they are; what changes is base.weight, and what self.merged says."
        )
    return first, second


def _seen(model: nn.Sequential, x: Tensor) -> Result:
    first, second = _layers(model)
    marked = first.merged is True and second.merged is True
    W = first.base.weight
    trains = W.requires_grad or second.base.weight.requires_grad
    return W.detach(), (first.B @ first.A).detach(), model(x).detach(), marked, trains


def merged(
    student: Change, x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: int | float
) -> Result:
    """A model after merge."""
    model = _model(W, A, B, alpha)
    student(model)
    return _seen(model, x)


def merged_twice(
    student: Change, W: Tensor, A: Tensor, B: Tensor, alpha: int | float
) -> tuple[Tensor, Tensor]:
    """A weight after merge, and after a second merge."""
    model = _model(W, A, B, alpha)
    student(model)
    after = _layers(model)[0].base.weight.detach().clone()
    student(model)
    return after, _layers(model)[0].base.weight.detach()


def changed_once(weights: Any, W: Tensor, *case: Any) -> tuple[bool, Tensor]:
    """Whether merge changed a weight, and what a second merge changed in it."""
    after, again = weights
    return not torch.equal(after, W), again - after


def unmerged(
    student: Change, x: Tensor, W: Tensor, A: Tensor, B: Tensor, alpha: int | float, times: int
) -> Result:
    """A merged model after `times` calls of unmerge."""
    model = _model(W, A, B, alpha)
    for layer in _layers(model):
        with torch.no_grad():
            layer.base.weight += layer.scale * layer.B @ layer.A
        layer.merged = True
    for _ in range(times):
        student(model)
    W, product, output, _, trains = _seen(model, x)
    return W, product, output, any(layer.merged for layer in _layers(model)), trains


def cases(draw: Draw) -> list[Arguments]:
    """x, W, A, B, α."""
    return [
        (draw(3, 5), draw(7, 5), draw(2, 5), draw(7, 2), 6),
        (draw(2, 3, 11), draw(5, 11), draw(3, 11), draw(5, 3), 2),
        (draw(2, 7), draw(7, 7), draw(3, 7), draw(7, 3), 5),  # square: mix-ups still multiply
        (draw(7, 3).double(), draw(5, 3).double(), draw(2, 3).double(), draw(5, 2).double(), 3),
    ]


def twice_cases(draw: Draw) -> list[Arguments]:
    """W, A, B, α."""
    return [case[1:] for case in cases(draw)]


def unmerge_cases(draw: Draw) -> list[Arguments]:
    """x, W, A, B, α, and how often unmerge is called."""
    return [(*case, 1 + number % 2) for number, case in enumerate(cases(draw))]


SEEN = (
    "base.weight of the first layer",
    "the product B A of the first layer",
    "the model's output",
    "self.merged",
    "base.weight.requires_grad",
)
TWICE = ("the statement 'base.weight has changed'", "what a second merge adds to base.weight")
