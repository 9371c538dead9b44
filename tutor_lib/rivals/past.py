"""How much of the past is left in what a layer writes now."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


@torch.enable_grad()
def signal_left(layer: Callable[[Tensor], Tensor], x: Float[Tensor, "B T C"]) -> Float[Tensor, "T"]:
    """How strongly the last output depends on the input n tokens before it, for n from 0.

    ‖∂y_T/∂x_{T-n}‖: the Frobenius norm of the Jacobian, by autograd, mean over the rows. In a
    recurrent network it is a product of n Jacobians, one a step, and fades or explodes
    exponentially in n: Bengio et al. 1994; Pascanu et al. 2013 (arXiv:1211.5063). Attention has
    a path of length 1 to every token: Vaswani et al. 2017, §4 (arXiv:1706.03762).

    `layer` maps (B, T, C) to (B, T, any width), each row by itself.

    Raises ValueError if there is no row or no token.
    """
    if not x.size(0) or not x.size(1):
        raise ValueError(f"need a row and a token, got {tuple(x.shape)}")
    x = x.detach().requires_grad_()
    last = layer(x)[:, -1]  # (B, C)
    squares = x.new_zeros(x.shape[:2])  # (B, T)
    for number in last.sum(0):  # the sum keeps rows apart: none depends on another's input
        (slope,) = torch.autograd.grad(number, x, retain_graph=True)
        squares += slope.square().sum(-1)
    return squares.sqrt().mean(0).flip(0)
