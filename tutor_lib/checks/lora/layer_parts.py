"""What is asked of a LoRALinear: to build one, to give it numbers, and to run it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.overrides import TorchFunctionMode

from tutor_lib.checks.diagnose import Arguments
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.elsewhere import MAKERS
from tutor_lib.checks.modules import built
from tutor_lib.checks.run import Complaint


def linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    """A layer with these numbers."""
    layer = nn.Linear(weight.size(1), weight.size(0), bias is not None)
    layer = layer.to(weight.device, weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def _made(
    student: Callable[..., Any], weight: Tensor, bias: Tensor | None, r: int, alpha: int | float
) -> Any:
    """The student's layer around a base; raises Complaint if its parts bear other names."""
    base = linear(weight, bias)
    layer = built(student, base, r, alpha)
    theirs = dict(layer.named_parameters())
    for name, shape in (("A", (r, base.in_features)), ("B", (base.out_features, r))):
        if name not in theirs:
            raise Complaint(
                f"Your layer has no parameter {name}; it has {', '.join(theirs) or 'none'}. What "
                "an optimizer is to find must be an nn.Parameter, kept as an attribute of self."
            )
        if (found := tuple(theirs[name].shape)) != shape:
            raise Complaint(f"The parameter {name} has shape {found}, but should have {shape}.")
    if getattr(layer, "base", None) is not base:
        raise Complaint(
            "self.base is not the layer that was given. Keep that very object: a copy takes "
            "memory twice, and what is merged into a copy never reaches the model."
        )
    return layer


def _run(layer: Any, x: Tensor, A: Tensor, B: Tensor) -> Tensor:
    output: Tensor = functional_call(layer, {"A": A, "B": B}, (x,))
    return output


def output(
    student: Callable[..., Any],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    A: Tensor,
    B: Tensor,
    alpha: int | float,
) -> Tensor:
    """What the layer gives once A and B hold numbers."""
    return _run(_made(student, weight, bias, len(A), alpha), x, A, B)


def merged(
    student: Callable[..., Any],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    A: Tensor,
    B: Tensor,
    alpha: int | float,
) -> Tensor:
    """What it gives when it is marked as merged; raises Complaint if it could not be merged."""
    layer = _made(student, weight, bias, len(A), alpha)
    for name in ("scale", "merged"):
        if not hasattr(layer, name):
            raise Complaint(f"Your layer has no attribute {name}; merge will need it.")
    if not isinstance(layer.scale, int | float | Tensor):
        raise Complaint(
            f"self.scale is of type {type(layer.scale).__name__}, but should be a number: α/r."
        )
    if layer.merged is not False:
        raise Complaint(f"self.merged is {layer.merged} in a new layer, but should be False.")
    with torch.no_grad():
        update, one = _run(layer, x, A, B) - layer.base(x), x @ A.T @ B.T
    factor = ((update * one).sum() / (one * one).sum()).item()
    is_multiple = torch.allclose(update, factor * one, rtol=1e-3, atol=1e-4)
    if is_multiple and abs(factor) > 1e-3 and abs(factor - layer.scale) > 1e-3 * abs(factor):
        raise Complaint(
            f"self.scale is {layer.scale:.4g}, but your forward multiplies B A x by {factor:.4g}. "
            "Keep in self.scale what forward uses: merge will read it there."
        )
    layer.merged = True
    return _run(layer, x, A, B)


def _spread(student: Callable[..., Any]) -> None:
    """Raise Complaint if A begins ten times too large or too small, but not if it is zero."""
    layer: Any = built(student, nn.Linear(1024, 64), 8, 16)
    spread = layer.A.detach().std().item()
    if spread and not 0.1 < spread * 32 < 10:
        raise Complaint(
            f"For 1,024 inputs your A is drawn with a spread of {spread:.2g}; it should be about "
            "1/√1024 = 0.031, so that A x is about as large as x."
        )


def start(
    student: Callable[..., Any],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    r: int,
    alpha: int | float,
) -> tuple[str, Any, Any, Any]:
    """A new layer: what trains, A, B, and the output.

    They are lists, so that where they would lie on a GPU is asked once, in words of its own.
    """
    layer = _made(student, weight, bias, r, alpha)
    for name, p in (("A", layer.A), ("B", layer.B)):
        if p.dtype != weight.dtype:
            raise Complaint(
                f"{name} is of dtype {p.dtype}, and base.weight of {weight.dtype}: they cannot be "
                "multiplied. Give new parameters the dtype and the device of base.weight."
            )
    _on_its_device(student, r, alpha)
    names = sorted(name for name, p in layer.named_parameters() if p.requires_grad)
    seen = [t.detach().tolist() for t in (layer.A, layer.B, layer(x))]
    _spread(student)
    return ", ".join(names) or "empty", *seen


def started(
    seen: Any,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *sizes: Any,
) -> tuple[str, int, bool, bool]:
    """What trains, the rank of A, whether B is zero, and whether the output is the base's."""
    trains, (A, B, output) = seen[0], (torch.tensor(t, dtype=weight.dtype) for t in seen[1:])
    unchanged = torch.allclose(output, nn.functional.linear(x, weight, bias))
    return trains, int(torch.linalg.matrix_rank(A.double())), not B.any().item(), unchanged


class _MadeHere(TorchFunctionMode):
    """Notes the tensors that are made without a device: they lie on the CPU, wherever x is."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[Tensor] = []  # kept, so that no other tensor gets their memory

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, and note what it made; what is sent to a device is forgotten."""
        result = func(*args, **(kwargs or {}))
        if func in MAKERS and (kwargs or {}).get("device") is None:
            self.tensors.append(result)
        elif func in (Tensor.to, Tensor.type_as):
            self.tensors = [t for t in self.tensors if t.data_ptr() != result.data_ptr()]
        return result


def _on_its_device(student: Callable[..., Any], r: int, alpha: int | float) -> None:
    """Raise Complaint if a base on a GPU would get parameters on the CPU."""
    base = nn.Linear(3, 2)
    with _MadeHere() as made:
        layer: Any = built(student, base, r, alpha)
    here = {t.data_ptr() for t in made.tensors}
    if any(p.data_ptr() in here for p in (layer.A, layer.B)):
        raise Complaint(
            "This works on a CPU. If the base lay on a GPU, A or B would lie on the CPU, away from "
            "it. Give new parameters the device of base.weight."
        )


def cases(draw: Draw) -> list[Arguments]:
    """x, W, b, A, B, α."""
    return [
        (draw(3, 5), draw(7, 5), draw(7), draw(2, 5), draw(7, 2), 6),
        (draw(2, 13, 11), draw(3, 11), draw(3), draw(3, 11), draw(3, 3), 5),
        (draw(11, 7), draw(7, 7), draw(7), draw(3, 7), draw(7, 3), 7),
        (draw(3, 5), draw(5, 5), draw(5), draw(5, 5), draw(5, 5), 2),  # mix-ups still multiply
        (draw(3), draw(5, 3), None, draw(1, 3), draw(5, 1), 2),
        (draw(5, 3).double(), draw(7, 3).double(), draw(7).double(), draw(2, 3).double(),
         draw(7, 2).double(), 3),
    ]  # fmt: skip


def start_cases(draw: Draw) -> list[Arguments]:
    """x, W, b, r, α."""
    return [
        (draw(3, 5), draw(7, 5), draw(7), 2, 6),
        (draw(2, 3, 11), draw(13, 11), draw(13), 3, 5),
        (draw(3, 5), draw(7, 5), None, 2, 2),
        (draw(5, 7).double(), draw(11, 7).double(), draw(11).double(), 3, 8),
    ]


STARTS = (
    "the list of what trains",
    "the rank of A",
    "the statement 'B is all zeros'",
    "the statement 'the output is the base's'",
)
