"""The feed-forward network: the same small network applied to every token.

`gelu`, `gelu_tanh` and `silu` are there to be read. The layers call PyTorch's, which do the same
in one pass over the numbers and keep fewer of them for the gradient.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


def gelu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · Φ(x), Φ the normal distribution: Hendrycks and Gimpel 2016 (arXiv:1606.08415)."""
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


def gelu_tanh(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))), within 5e-4 of GELU: the same paper, §2."""
    return x * 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def silu(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x · σ(x), also called Swish: Ramachandran et al. 2017 (arXiv:1710.05941)."""
    return x * torch.sigmoid(x)


class GELUFeedForward(nn.Module):
    """W₂ GELU(W₁ x + b₁) + b₂, as in BERT. 2CF + F + C parameters."""

    def __init__(self, d_model: int, d_ff: int, bias: bool = True) -> None:
        super().__init__()
        self.up_proj = nn.Linear(d_model, d_ff, bias)
        self.down_proj = nn.Linear(d_ff, d_model, bias)

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Widen to F, bend, come back to C."""
        return self.down_proj(functional.gelu(self.up_proj(x)))


class GELUTanhFeedForward(GELUFeedForward):
    """The same with `gelu_tanh`, as in GPT-2."""

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Widen to F, bend, come back to C."""
        return self.down_proj(functional.gelu(self.up_proj(x), approximate="tanh"))


class ReLUFeedForward(GELUFeedForward):
    """W₂ max(0, W₁ x + b₁) + b₂: Vaswani et al. 2017, eq. 2 (arXiv:1706.03762).

    T5 leaves out the biases: Raffel et al. 2019 (arXiv:1910.10683).
    """

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Widen to F, cut off what is negative, come back to C."""
        return self.down_proj(functional.relu(self.up_proj(x)))


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
        return self.down_proj(functional.silu(self.gate_proj(x)) * self.up_proj(x))


class GeGLUFeedForward(SwiGLUFeedForward):
    """The same with `gelu_tanh` for silu, as in Gemma 2: Shazeer 2020, eq. 6 (arXiv:2002.05202)."""

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Widen to F twice, let one gate the other, come back to C."""
        gate = functional.gelu(self.gate_proj(x), approximate="tanh")
        return self.down_proj(gate * self.up_proj(x))


class NoFeedForward(nn.Module):
    """Adds nothing to the residual stream, for a model that has attention alone."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Zeros, whatever x."""
        return torch.zeros_like(x)
