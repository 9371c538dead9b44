"""The feed-forward network: the same small network applied to every token."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · Φ(x), Φ the normal distribution: Hendrycks and Gimpel 2016 (arXiv:1606.08415)."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · σ(x), also called Swish: Ramachandran et al. 2017 (arXiv:1710.05941)."""
    return x * torch.sigmoid(x)


class GELUFeedForward(nn.Module):
    """W₂ gelu(W₁ x + b₁) + b₂, as in GPT-2. 2CF + F + C parameters."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.up_proj = nn.Linear(d_model, d_ff)
        self.down_proj = nn.Linear(d_ff, d_model)

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Widen to F, bend, come back to C."""
        return self.down_proj(gelu(self.up_proj(x)))


class SwiGLUFeedForward(nn.Module):
    """W_down (silu(W_gate x) ⊙ W_up x): Shazeer 2020, eq. 6 (arXiv:2002.05202).

    3CF parameters.
    """

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(d_model, d_ff, bias=False)
        self.up_proj = nn.Linear(d_model, d_ff, bias=False)
        self.down_proj = nn.Linear(d_ff, d_model, bias=False)

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Widen to F twice, let one gate the other, come back to C."""
        return self.down_proj(silu(self.gate_proj(x)) * self.up_proj(x))
