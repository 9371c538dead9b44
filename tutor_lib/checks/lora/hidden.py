"""What the hidden tests see of an answer. All of it runs beside the answer.

A model cannot be handed to an answer in another process, but the numbers to make one of can. What
comes back is numbers too; a hidden test says itself what they should be.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tutor_lib.checks.lora.layer import LoRALinear
from tutor_lib.checks.lora.layer_parts import linear

Answer = Callable[..., Any]


# --- LoRALinear ---------------------------------------------------------------------------------


def filled(
    student: Answer, x: Tensor, W: Tensor, b: Tensor | None, A: Tensor, B: Tensor, alpha: float
) -> Tensor:
    """What a layer gives whose A and B are overwritten."""
    layer = _filled(student(linear(W, b), len(A), alpha), A, B)
    output: Tensor = layer(x)
    return output


def _filled(layer: Any, A: Tensor, B: Tensor) -> Any:
    with torch.no_grad():
        layer.A.copy_(A)
        layer.B.copy_(B)
    return layer


def fresh(
    student: Answer, x: Tensor, W: Tensor, r: int, alpha: float, other: Tensor
) -> tuple[list[str], Tensor, Tensor, Tensor, Tensor]:
    """What trains in a new layer, A, B; its base.weight and its output, once the layer that was
    given to it holds `other` in place of W."""
    base = linear(W, None)
    layer = student(base, r, alpha)
    trains = sorted(name for name, p in layer.named_parameters() if p.requires_grad)
    with torch.no_grad():
        base.weight.copy_(other)
    return trains, layer.A, layer.B, layer.base.weight, layer(x)


def marked(
    student: Answer, x: Tensor, W: Tensor, b: Tensor | None, r: int, alpha: float
) -> tuple[Any, Any, Tensor]:
    """self.merged and self.scale of a new layer, and what it gives marked as merged."""
    layer = student(linear(W, b), r, alpha)
    before = layer.merged
    nn.init.ones_(layer.B)
    layer.merged = True
    return before, layer.scale, layer(x)


# --- whole models -------------------------------------------------------------------------------

# A module by its parts: ("Linear", 5, 3) is nn.Linear(5, 3), ("Parameter", 3) three numbers, a
# list an nn.Sequential, a mapping a module whose parts have these names.
Plan = Mapping[str, Any]


def grown(plan: Plan) -> nn.Module:
    """The module that is planned, the same wherever it is made, except on the meta device."""
    module = _grown(plan)
    for number, p in enumerate(module.parameters()):
        with torch.no_grad():
            p.copy_(torch.sin(torch.arange(1, p.numel() + 1) * (1 + 0.37 * number)).view(p.shape))
    return module


def _grown(plan: Any) -> Any:
    if isinstance(plan, tuple):
        kind, *sizes = plan
        is_bare = kind == "Parameter"
        return nn.Parameter(torch.zeros(sizes)) if is_bare else getattr(nn, kind)(*sizes)
    if isinstance(plan, list):
        return nn.Sequential(*map(_grown, plan))
    module = nn.Module()
    for name, part in plan.items():
        setattr(module, name, _grown(part))
    return module


def injected(
    student: Answer, plan: Plan, targets: tuple[str, ...], r: int, alpha: float, times: int
) -> tuple[bool, dict[str, Tensor], dict[str, tuple[Any, Any]], list[str]]:
    """After `times` calls of inject_lora: whether the model came back; the weight of each linear
    layer by path, plus 1, which is added to the model's own ones; the shape of A and the scale of
    each that has an A; and what trains."""
    model = grown(plan)
    linears = [m for m in model.modules() if isinstance(m, nn.Linear)]
    for _ in range(times):
        returned = student(model, targets, r, alpha)
    with torch.no_grad():
        for module in linears:
            module.weight.add_(1)
    every: list[tuple[str, Any]] = [*model.named_modules()]
    weights = {path: m.weight for path, m in every if isinstance(m, nn.Linear)}
    adapters = {path: (tuple(m.A.shape), m.scale) for path, m in every if hasattr(m, "A")}
    trains = sorted(name for name, p in model.named_parameters() if p.requires_grad)
    return returned is model, weights, adapters, trains


def fraction_of(student: Answer, plan: Plan, trains: Sequence[str], tied: Mapping[str, str]) -> Any:
    """What the answer says of a model without numbers, in which the parameters named in `trains`
    train; `tied` names a parameter that is another one as well."""
    with torch.device("meta"):
        model = _grown(plan)
    for path, other in tied.items():
        holder, _, name = path.rpartition(".")
        setattr(model.get_submodule(holder), name, model.get_parameter(other))
    for name, p in model.named_parameters():
        p.requires_grad_(name in trains)
    return student(model)


Numbers = tuple[Tensor, Tensor, Tensor, Tensor, float]  # W, b, A, B, α


def after(
    student: Answer, numbers: Sequence[Numbers], x: Tensor, merged: bool, times: int
) -> tuple[Tensor, list[tuple[Tensor, Tensor, bool, bool]]]:
    """After `times` calls of merge or unmerge: what a chain of LoRA layers gives; base.weight and
    B A of each, whether it says it is merged, and whether base.weight trains."""
    layers = [_filled(LoRALinear(linear(W, b), len(A), alpha), A, B)
              for W, b, A, B, alpha in numbers]  # fmt: skip
    model = nn.Sequential(layers[0], nn.Sequential(*layers[1:]))
    for layer in layers if merged else []:
        layer.base.weight.data += layer.scale * (layer.B @ layer.A).detach()
        layer.merged = True
    for _ in range(times):
        student(model)
    seen = [(m.base.weight, m.B @ m.A, m.merged, m.base.weight.requires_grad) for m in layers]
    return model(x), seen
