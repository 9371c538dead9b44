"""Use a student's layer: what it computes, what learns in it, and what it costs."""

from typing import Any

import torch
from torch import Tensor, nn

from tutor_lib.checks.diagnose import Arguments
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.modules import built, loaded
from tutor_lib.checks.moe.products import Products
from tutor_lib.checks.moe.speed import loops, more
from tutor_lib.checks.run import Complaint

WORK = "whether your experts work on more than half of all pairs of token and expert"


def _layer(make: Any, router: Tensor, w_in: Tensor, w_out: Tensor, k: int) -> nn.Module:
    """The student's layer with these numbers in its parameters."""
    n_experts, d_model, d_ff = w_in.shape
    state = {"router": router, "w_in": w_in, "w_out": w_out}
    return loaded(built(make, d_model, d_ff, n_experts, k), state, w_in)


def _case(draw: Draw, lead: tuple[int, int], d_model: int, d_ff: int, n: int, k: int) -> Arguments:
    """x (B, T, C), router (C, E), w_in (E, C, F), w_out (E, F, C), k; logits of moderate size."""
    weights = draw(n, d_model, d_ff) / 2, draw(n, d_ff, d_model) / 2
    return draw(*lead, d_model), draw(d_model, n) / 2, *weights, k


def cases(draw: Draw) -> list[Arguments]:
    """Inputs on which to compare values."""
    double = _case(draw, (5, 2), 3, 7, 5, 2)
    return [
        _case(draw, (2, 3), 4, 8, 5, 2),
        _case(draw, (2, 7), 5, 11, 3, 2),
        _case(draw, (3, 5), 7, 2, 11, 3),  # more experts than some tokens could keep busy
        _case(draw, (5, 5), 5, 5, 5, 2),  # all sizes equal: mix-ups still multiply
        _case(draw, (1, 1), 2, 3, 13, 5),
        _case(draw, (3, 2), 5, 7, 3, 1),
        tuple(t.double() if isinstance(t, Tensor) else t for t in double),
    ]


def values(make: Any, x: Tensor, router: Tensor, w_in: Tensor, w_out: Tensor, k: int) -> Tensor:
    """What the layer makes of x."""
    with torch.no_grad():  # whether it learns is a part of its own
        return _layer(make, router, w_in, w_out, k)(x)


def gradients(
    make: Any, x: Tensor, router: Tensor, w_in: Tensor, w_out: Tensor, k: int
) -> tuple[Tensor, ...]:
    """What goes back to x and to each parameter from the layer's result, squared and summed."""
    layer = _layer(make, router, w_in, w_out, k)
    leaves = [x.clone().requires_grad_(), *map(layer.get_parameter, ("router", "w_in", "w_out"))]
    with torch.enable_grad():
        result = layer(leaves[0])
        if not isinstance(result, Tensor):
            raise Complaint("There is no tensor in what your layer returns yet.")
        if not result.requires_grad:
            return tuple(map(torch.zeros_like, leaves))
        return torch.autograd.grad(result.square().sum(), leaves, materialize_grads=True)


def largest(
    make: Any, x: Tensor, router: Tensor, w_in: Tensor, w_out: Tensor, k: int
) -> tuple[float, ...]:
    """The largest number in the gradient of each parameter, and of x."""
    of_x, *others = gradients(make, x, router, w_in, w_out, k)
    return tuple(g.abs().max().item() for g in (*others, of_x))


def learning(sizes: tuple[float, ...], *case: Any) -> tuple[bool, ...]:
    """Does each get a gradient? What rounding leaves of one that should be 0 is none."""
    return tuple(size > 1e-5 for size in sizes)


def one(draw: Draw) -> list[Arguments]:
    """Tokens enough to keep every expert busy."""
    return [_case(draw, (5, 7), 5, 11, 3, 2)]


def products(
    make: Any, x: Tensor, router: Tensor, w_in: Tensor, w_out: Tensor, k: int
) -> tuple[int, int]:
    """How many products are computed, and how long the output is."""
    layer = _layer(make, router, w_in, w_out, k)
    with torch.no_grad(), Products() as counted:
        result = layer(x)
    _experts_show(layer, x, result)
    return counted.count, len(result)


def work(
    result: tuple[int, int], x: Tensor, router: Tensor, w_in: Tensor, w_out: Tensor, k: int
) -> tuple[bool, int]:
    """Are these more than half of what all experts on all tokens would take?"""
    count, length = result
    everything = x.size(0) * x.size(1) * (w_in.numel() + w_out.numel())
    return count > everything / 2, length


def _experts_show(layer: nn.Module, x: Tensor, result: Any) -> None:
    """Raise Complaint if the result does not depend on what the experts do."""
    if isinstance(result, Tensor) and result.ndim:
        with torch.no_grad():
            layer.get_parameter("w_out").mul_(2)
            again = layer(x)
            layer.get_parameter("w_out").div_(2)
        if not torch.equal(again, result):
            return
    raise Complaint("Nothing of what the experts compute shows in your layer's result yet.")


def wide(draw: Draw) -> list[Arguments]:
    """Many experts, of whom each token wants two."""
    return [_case(draw, (7, 13), 5, 7, 17, 2)]


def costs(
    make: Any, x: Tensor, many: Tensor, router: Tensor, w_in: Tensor, w_out: Tensor, k: int
) -> Any:
    """How much more Python the layer runs for `many` than for x, and how long its output is."""
    layer = _layer(make, router, w_in, w_out, k)
    with torch.no_grad():
        result = layer(many)
        _experts_show(layer, many, result)
        return more(layer, (x,), (many,)), len(result)


def speed(result: Any, x: Tensor, many: Tensor, *_: Any) -> tuple[bool, int]:
    """Is that a loop over the tokens?"""
    grown, length = result
    return loops(grown, many.size(0) * many.size(1) - x.size(0) * x.size(1)), length


def longer(draw: Draw) -> list[Arguments]:
    """A short batch and a long one, for the same layer."""
    x, *rest = _case(draw, (2, 11), 5, 7, 3, 2)
    return [(x, draw(2, 47, 5), *rest)]
