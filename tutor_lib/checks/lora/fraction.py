"""trainable_fraction, as students get it wrong."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw


def _model(V: int, C: int, r: int, tied: bool) -> Any:
    """A frozen embedding and head, one tensor if tied, and an update that trains."""
    model = nn.Module()
    model.embedding, model.head = nn.Embedding(V, C), nn.Linear(C, V, bias=False)
    if tied:
        model.head.weight = model.embedding.weight
    model.mix = nn.Linear(C, C)
    model.register_buffer("positions", torch.zeros(C, V))
    model.requires_grad_(False)
    if r:
        model.mix.A, model.mix.B = nn.Parameter(torch.ones(r, C)), nn.Parameter(torch.zeros(C, r))
    return model


def _fraction(
    student: Callable[[nn.Module], Any], V: int, C: int, r: int, tied: bool, bias: bool
) -> Any:
    model = _model(V, C, r, tied)
    model.mix.bias.requires_grad_(bias)
    return student(model)


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (11, 5, 2, False, False),
        (13, 3, 2, True, False),
        (7, 11, 3, True, True),
        (5, 3, 0, False, False),  # nothing trains
    ]


def _sizes(model: nn.Module, trains: bool) -> list[int]:
    return [p.numel() for p in model.parameters() if p.requires_grad == trains]


def _reference(model: nn.Module) -> float:
    trained = sum(_sizes(model, True))
    return trained / (trained + sum(_sizes(model, False)))


fraction = Exercise("trainable_fraction", _reference, learns=False)
fraction.part("trainable_fraction", 2, _cases, drive=_fraction, results=("the trainable fraction",))


@fraction.misconception
def counts_tensors(model: nn.Module) -> float:
    """You count tensors, not the numbers in them: a small A counts as much as a large embedding.
    A tensor knows how many numbers it holds."""
    trained = len(_sizes(model, True))
    return trained / (trained + len(_sizes(model, False)))


@fraction.misconception
def counts_rows(model: nn.Module) -> float:
    """You count the first axis of each tensor (len gives that, and so does shape[0]), not all
    numbers in it."""
    trained = sum(len(p) for p in model.parameters() if p.requires_grad)
    return trained / sum(map(len, model.parameters()))


@fraction.misconception
def over_the_frozen(model: nn.Module) -> float:
    """You divide by what is frozen. Divide by all, what trains included."""
    return sum(_sizes(model, True)) / sum(_sizes(model, False))


@fraction.misconception
def in_percent(model: nn.Module) -> float:
    """Your result is in percent. Return the fraction, between 0 and 1."""
    return 100 * _reference(model)


@fraction.misconception
def of_the_frozen(model: nn.Module) -> float:
    """Your result is the fraction that is frozen. Asked for is what trains: requires_grad is
    True."""
    return 1 - _reference(model)


@fraction.misconception
def only_a_count(model: nn.Module) -> int:
    """Your result is how many numbers train. Divide by how many there are in all."""
    return sum(_sizes(model, True))


@fraction.misconception
def rounded_down(model: nn.Module) -> int:
    """Your result is always 0 or 1. Has it lost what comes after the point? // does that. Or do you
    ask a state_dict what trains? Its tensors have lost their requires_grad: ask the model for its
    parameters."""
    return int(_reference(model))


@fraction.misconception
def shared_counted_twice(model: nn.Module) -> float:
    """You count a parameter twice if two modules share it, as an embedding and a head may do. Ask
    the model for its parameters, all at once: it lists each tensor once."""
    every = [p for m in model.modules() for p in m.parameters(recurse=False)]
    return sum(p.numel() for p in every if p.requires_grad) / sum(p.numel() for p in every)


@fraction.misconception
def buffers_counted(model: nn.Module) -> float:
    """You divide by all that the state_dict holds. It holds buffers too, which are no parameters,
    and shared tensors twice. Ask the model for its parameters."""
    total = sum(t.numel() for t in model.state_dict().values())
    return sum(_sizes(model, True)) / total


@fraction.misconception
def matrices_only(model: nn.Module) -> float:
    """You count matrices alone. A bias or a norm's gain is a parameter too, and holds numbers."""

    def numbers(tensors: list[Tensor]) -> int:
        return sum(t.numel() for t in tensors if t.ndim > 1)

    trained = numbers([p for p in model.parameters() if p.requires_grad])
    return trained / numbers([*model.parameters()])
