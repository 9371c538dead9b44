"""merge and unmerge, as students get them wrong."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.lora import merging_parts
from tutor_lib.checks.lora.layer import LoRALinear, lora_linear


def _layers(model: nn.Module, merged: bool) -> list[LoRALinear]:
    every = [m for m in model.modules() if isinstance(m, LoRALinear)]
    return [layer for layer in every if layer.merged == merged]


def _delta(layer: LoRALinear) -> Tensor:
    return (layer.scale * layer.B @ layer.A).detach()


def _add(layers: Iterable[LoRALinear], factor: int | float, merged: bool) -> None:
    """Add `factor` times ΔW to each base, and mark the layer."""
    for layer in layers:
        layer.base.weight.data += factor * _delta(layer)
        layer.merged = merged


def _merge(model: nn.Module) -> None:
    _add(_layers(model, False), 1, True)


def _unmerge(model: nn.Module) -> None:
    _add(_layers(model, True), -1, False)


merging = Exercise("merge", _merge, uses=(lora_linear,), learns=False)
merging.part("merge", 2, merging_parts.cases, merging_parts.merged, merging_parts.SEEN)
TWICE = merging_parts.twice_cases, merging_parts.merged_twice, merging_parts.TWICE
merging.part("merge_twice", 1, *TWICE, reading=merging_parts.changed_once)
unmerging = Exercise("unmerge", _unmerge, uses=(lora_linear,), learns=False)
unmerging.part(
    "unmerge", 1, merging_parts.unmerge_cases, merging_parts.unmerged, merging_parts.SEEN
)


@merging.misconception
def without_scale(model: nn.Module) -> None:
    """You add B A to base.weight without the factor α/r, by which forward multiplies it."""
    for layer in _layers(model, False):
        layer.base.weight.data += _delta(layer) / layer.scale
        layer.merged = True


@merging.misconception
def scale_squared(model: nn.Module) -> None:
    """You multiply by α/r twice. Scale B A once: not A and B each."""
    for layer in _layers(model, False):
        layer.base.weight.data += layer.scale * _delta(layer)
        layer.merged = True


@merging.misconception
def product_transposed(model: nn.Module) -> None:
    """You add the update lying on its side, or multiply A and B in the wrong order. W is (out, in),
    and B (out, r) times A (r, in) has that shape as it is."""
    for layer in _layers(model, False):
        layer.base.weight.data += layer.scale * (layer.A.T @ layer.B.T).detach()
        layer.merged = True


@merging.misconception
def not_marked(model: nn.Module) -> None:
    """base.weight is right, but forward still adds the update on top: it counts twice. Say in the
    layer that it is merged."""
    for layer in _layers(model, False):
        layer.base.weight.data += _delta(layer)


@merging.misconception
def only_marked(model: nn.Module) -> None:
    """You mark the layers as merged, but base.weight does not hold the update: it is lost. (W + ΔW
    makes a new tensor; the layer's own must change.)"""
    for layer in _layers(model, False):
        layer.merged = True


@merging.misconception
def merges_a_copy(model: nn.Module) -> None:
    """The model is as it was. Change the layers that are in it, not copies of them. If you loop:
    does the loop find any LoRALinear? They can lie at any depth."""
    _merge(copy.deepcopy(model))


@merging.misconception
def merged_again(model: nn.Module) -> None:
    """A second merge adds the update a second time. Leave a layer alone that is marked as
    merged."""
    _add([*_layers(model, False), *_layers(model, True)], 1, True)


@merging.misconception
def weight_replaced(model: nn.Module) -> None:
    """base.weight is the update alone: you have put it in the place of W. Add it to W."""
    for layer in _layers(model, False):
        layer.base.weight.data = _delta(layer)
        layer.merged = True


@merging.misconception
def subtracted(model: nn.Module) -> None:
    """You subtract the update from base.weight. merge adds it."""
    _add(_layers(model, False), -1, True)


@merging.misconception
def first_only(model: nn.Module) -> None:
    """Only the first LoRALinear is merged. Is there a return or a break inside the loop, or do you
    look at the top of the model alone? Layers can lie at any depth."""
    _add(_layers(model, False)[:1], 1, True)


@merging.misconception
def with_gradients(model: nn.Module) -> None:
    """base.weight asks for a gradient after merging: the sum was recorded for autograd, or became
    a new parameter, which trains unless told otherwise. A merged weight is as frozen as before."""
    for layer in _layers(model, False):
        layer.base.weight = nn.Parameter(layer.base.weight + _delta(layer))
        layer.merged = True


@merging.misconception
def recorded(model: nn.Module) -> None:
    """Autograd records the sum, because A and B ask for gradients, and what it records is no
    parameter any more. Merging is no part of training: do it where autograd does not look."""
    for layer in _layers(model, False):
        layer.base.weight += layer.scale * layer.B @ layer.A
        layer.merged = True


@merging.misconception
def update_forgotten(model: nn.Module) -> None:
    """You set A or B to zero after adding them to W. The output is right, but unmerge needs them to
    take the update away again. That the layer is merged is told by self.merged."""
    for layer in _layers(model, False):
        layer.base.weight.data += _delta(layer)
        layer.merged = True
        torch.nn.init.zeros_(layer.B)


@unmerging.misconception
def adds_again(model: nn.Module) -> None:
    """You add the update once more. unmerge takes it away."""
    _add(_layers(model, True), 1, False)


@unmerging.misconception
def taken_again(model: nn.Module) -> None:
    """You take the update away from layers that are not merged, too: called twice, it takes it away
    twice. Leave a layer alone that is not marked as merged."""
    _add([*_layers(model, False), *_layers(model, True)], -1, False)


@unmerging.misconception
def still_marked(model: nn.Module) -> None:
    """The layers are still marked as merged: forward leaves the update out, and a second unmerge
    takes it away again. Say in the layer that it is not merged any more."""
    for layer in _layers(model, True):
        layer.base.weight.data -= _delta(layer)


@unmerging.misconception
def mark_removed_only(model: nn.Module) -> None:
    """You say that the layers are not merged any more, but base.weight still holds the update, and
    forward adds it on top."""
    for layer in _layers(model, True):
        layer.merged = False


@unmerging.misconception
def taken_without_scale(model: nn.Module) -> None:
    """You take B A away without the factor α/r, but what was added is α/r times as much."""
    for layer in _layers(model, True):
        layer.base.weight.data -= _delta(layer) / layer.scale
        layer.merged = False


@unmerging.misconception
def weight_emptied(model: nn.Module) -> None:
    """base.weight is not W any more: what is left is minus the update, or nothing. Subtract the
    update from the weight that is there."""
    for layer in _layers(model, True):
        layer.base.weight.data = -_delta(layer)
        layer.merged = False


@unmerging.misconception
def adapters_emptied(model: nn.Module) -> None:
    """A or B is zero after unmerge: what was learned is gone. unmerge takes the update out of
    base.weight alone, so that the layer computes it beside W again."""
    for layer in _layers(model, True):
        layer.base.weight.data -= _delta(layer)
        layer.merged = False
        torch.nn.init.zeros_(layer.B)


@unmerging.misconception
def nothing_undone(model: nn.Module) -> None:
    """The model is still merged, as it was. Change the layers that are in it; they can lie at any
    depth."""


@unmerging.misconception
def first_undone_only(model: nn.Module) -> None:
    """Only the first LoRALinear is unmerged. Is there a return or a break inside the loop, or do
    you look at the top of the model alone? Layers can lie at any depth."""
    _add(_layers(model, True)[:1], -1, False)


@unmerging.misconception
def undone_on_record(model: nn.Module) -> None:
    """Autograd records the difference, because A and B ask for gradients, and what it records is no
    parameter any more. Do it where autograd does not look."""
    for layer in _layers(model, True):
        layer.base.weight -= layer.scale * layer.B @ layer.A
        layer.merged = False


@unmerging.misconception
def undone_with_gradients(model: nn.Module) -> None:
    """base.weight asks for a gradient after unmerging: the difference was recorded for autograd, or
    became a new parameter, which trains unless told otherwise."""
    for layer in _layers(model, True):
        layer.base.weight = nn.Parameter(layer.base.weight - _delta(layer))
        layer.merged = False
