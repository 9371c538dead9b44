"""Normalisation: keep every vector of the residual stream at a readable scale."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerNorm(nn.Module):
    """Subtract the mean, divide by the standard deviation, then scale and shift.

    g · (x - mean(x)) / √(var(x) + ε) + b over the C numbers of one token:
    Ba et al. 2016 (arXiv:1607.06450).
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Normalise each token by itself."""
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return self.weight * centred * torch.rsqrt(variance + self.eps) + self.bias


class RMSNorm(nn.Module):
    """Divide by the root mean square, then scale: no mean, no shift.

    g · x / √(mean(x²) + ε): Zhang and Sennrich 2019, eq. 4 (arXiv:1910.07467).
    """

    def __init__(self, d_model: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d_model))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Normalise each token by itself."""
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)


class GemmaRMSNorm(RMSNorm):
    """RMSNorm whose gain is 1 + g, so that weight decay pulls it to 1 and not to 0.

    Gemma's (arXiv:2403.08295); the code released with it.
    """

    def __init__(self, d_model: int, eps: float = 1e-6) -> None:
        super().__init__(d_model, eps)
        nn.init.zeros_(self.weight)

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Normalise each token by itself."""
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps)
        return (1 + self.weight) * x * scale
