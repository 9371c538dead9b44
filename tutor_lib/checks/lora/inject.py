"""inject_lora, as students get it wrong."""

import copy
from collections.abc import Iterable

from torch import nn

from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.lora import inject_parts
from tutor_lib.checks.lora.layer import LoRALinear, lora_linear

Targets = tuple[str, ...]


def _put(model: nn.Module, paths: Iterable[str], r: int, alpha: int | float) -> nn.Module:
    """Give the linear layers at `paths` an update."""
    for path in paths:
        parent, _, name = path.rpartition(".")
        holder = model.get_submodule(parent)
        setattr(holder, name, LoRALinear(getattr(holder, name), r, alpha))
    return model


def _linears(model: nn.Module) -> list[str]:
    return [path for path, m in model.named_modules() if isinstance(m, nn.Linear)]


def _at(model: nn.Module, path: str) -> nn.Linear:
    layer = model.get_submodule(path)
    assert isinstance(layer, nn.Linear)
    return layer


def _chosen(model: nn.Module, targets: Targets) -> list[str]:
    return [path for path in _linears(model) if path.split(".")[-1] in targets]


def _reference(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    return _put(model.requires_grad_(False), _chosen(model, targets), r, alpha)


injecting = Exercise("inject_lora", _reference, uses=(lora_linear,), learns=False)
injecting.part("inject_lora", 2, inject_parts.cases, inject_parts.structure, inject_parts.STRUCTURE)
injecting.part(
    "inject_lora_frozen",
    2,
    inject_parts.freezing_cases,
    inject_parts.freezing,
    inject_parts.FREEZING,
)


@injecting.misconception
def not_only_linears(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You replace every module whose name is a target, whatever it is. Only an nn.Linear has a
    weight that a LoRALinear can stand beside."""
    every = [path for path, _ in model.named_modules() if path.split(".")[-1] in targets]
    model.requires_grad_(False)
    for path in every:
        holder, name = path.rpartition(".")[::2]
        parent = model.get_submodule(holder)
        setattr(parent, name, LoRALinear(getattr(parent, name), r, alpha))
    return model


@injecting.misconception
def part_of_path(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You look for the target anywhere in a path. Then q_proj also means old_q_proj, and, when the
    cell is run again, the base inside of an adapter: q_proj.base. Compare a layer's own name, what
    comes after the last point, as a whole."""
    chosen = [p for p in _linears(model) if any(t in p for t in targets)]
    return _put(model.requires_grad_(False), chosen, r, alpha)


@injecting.misconception
def end_of_path(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You look for the target at the end of a path. Then q_proj also means old_q_proj. Compare a
    layer's own name, what comes after the last point, as a whole."""
    chosen = [p for p in _linears(model) if any(p.endswith(t) for t in targets)]
    return _put(model.requires_grad_(False), chosen, r, alpha)


@injecting.misconception
def whole_path(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You find layers only at the top of the model: those deeper down, such as
    blocks.0.attention.q_proj, stay as they were. Look through the modules inside modules too, and
    compare the last part of a path."""
    chosen = [p for p in _linears(model) if p in targets]
    return _put(model.requires_grad_(False), chosen, r, alpha)


@injecting.misconception
def name_with_points(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You set an attribute of the model whose name is a whole path, with points in it. That adds a
    layer that nobody calls. The attribute belongs to the module that holds the layer: find that
    parent, and use the last part of the path."""
    model.requires_grad_(False)
    for path in _chosen(model, targets):
        setattr(model, path, LoRALinear(_at(model, path), r, alpha))
    return model


@injecting.misconception
def never_put_back(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """No layer of the model was replaced. A new LoRALinear has to be set as an attribute of the
    module that held the old layer: giving the loop's variable another value changes nothing."""
    return model.requires_grad_(False)


@injecting.misconception
def first_target_only(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """Only the first of the targets is looked for. Use all of them."""
    return _reference(model, targets[:1], r, alpha)


@injecting.misconception
def first_layer_only(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You stop after the first layer that you replace. Is there a return or a break inside the
    loop?"""
    return _put(model.requires_grad_(False), _chosen(model, targets)[:1], r, alpha)


@injecting.misconception
def every_linear(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You replace every linear layer, whatever targets says."""
    chosen = [p for p in _linears(model) if not p.endswith(".base")]
    return _put(model.requires_grad_(False), chosen, r, alpha)


@injecting.misconception
def rank_and_alpha_exchanged(model: nn.Module, targets: Targets, r: int, alpha: int) -> nn.Module:
    """You hand r and α to LoRALinear in the wrong order: it takes the base, then r, then α."""
    return _reference(model, targets, alpha, r)


@injecting.misconception
def rank_as_alpha(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """Your adapters have the scale 1: α does not reach them."""
    return _reference(model, targets, r, r)


@injecting.misconception
def new_base(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You put the adapters around new linear layers of random numbers, and what the model has
    learned is gone. Put them around the layers that are there."""
    model.requires_grad_(False)
    for path in _chosen(model, targets):
        old, (parent, _, name) = _at(model, path), path.rpartition(".")
        fresh = nn.Linear(old.in_features, old.out_features, old.bias is not None)
        setattr(model.get_submodule(parent), name, LoRALinear(fresh, r, alpha))
    return model


@injecting.misconception
def changes_a_copy(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You change a copy. Change the model that you are given, and return it."""
    return _reference(copy.deepcopy(model), targets, r, alpha)


@injecting.misconception
def returns_nothing(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> None:
    """Your function changes the model but returns nothing. Return the model."""
    _reference(model, targets, r, alpha)


@injecting.misconception
def nothing_frozen(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """The rest of the model still trains: LoRALinear freezes its own base, and nobody the rest.
    Freeze every parameter before you put adapters in. (model.eval() and no_grad() do not freeze:
    an optimizer goes by requires_grad.)"""
    return _put(model, _chosen(model, targets), r, alpha)


@injecting.misconception
def only_linears_frozen(
    model: nn.Module, targets: Targets, r: int, alpha: int | float
) -> nn.Module:
    """You freeze the linear layers, but the embedding, the norms and single parameters still
    train. Freeze every parameter of the model, whatever it belongs to."""
    for path in _linears(model):
        model.get_submodule(path).requires_grad_(False)
    return _put(model, _chosen(model, targets), r, alpha)


@injecting.misconception
def only_weights_frozen(
    model: nn.Module, targets: Targets, r: int, alpha: int | float
) -> nn.Module:
    """You freeze what is called weight; biases and other parameters still train. Freeze every
    parameter of the model, whatever its name."""
    for name, p in model.named_parameters():
        if name.endswith("weight"):
            p.requires_grad_(False)
    return _put(model, _chosen(model, targets), r, alpha)


@injecting.misconception
def frozen_afterwards(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """A and B are frozen with the rest: nothing trains. Freeze the model first, and put the
    adapters in afterwards, whose A and B begin as trainable. (If you go by names: A and B are
    called A and B, there is no 'lora' in them.)"""
    return _put(model, _chosen(model, targets), r, alpha).requires_grad_(False)


@injecting.misconception
def all_trains_again(model: nn.Module, targets: Targets, r: int, alpha: int | float) -> nn.Module:
    """You let all parameters of the adapters train, and with them their bases. Only A and B are
    to."""
    for path in _chosen(_reference(model, targets, r, alpha), ("base",)):
        model.get_submodule(path).requires_grad_(True)
    return model
