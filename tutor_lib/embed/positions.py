"""Positions added to the embeddings: the fixed sinusoidal ones, and learned ones."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def sinusoidal_positions(length: int, d_model: int) -> Float[Tensor, "T C"]:
    """One row of sines and cosines for each position.

    PE(t, 2i) = sin(t / 10000^(2i/C)), PE(t, 2i+1) = cos(t / 10000^(2i/C)):
    Vaswani et al. 2017, §3.5 (arXiv:1706.03762).

    Raises ValueError if `d_model` is odd or not positive, or `length` is negative.
    """
    if d_model <= 0 or d_model % 2:
        raise ValueError(f"d_model must be positive and even, got {d_model}")
    if length < 0:
        raise ValueError(f"length must not be negative, got {length}")
    frequencies = 10_000.0 ** (-torch.arange(0, d_model, 2) / d_model)  # (C/2)
    angles = torch.arange(length)[:, None] * frequencies  # (T, C/2)
    return torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)


class LearnedPositions(nn.Module):
    """A trained vector for each position, as in GPT-2 (Radford et al. 2019)."""

    def __init__(self, context_length: int, d_model: int) -> None:
        super().__init__()
        self.table = nn.Embedding(context_length, d_model)

    def forward(self, x: Float[Tensor, "B T C"], start: int = 0) -> Float[Tensor, "B T C"]:
        """Add the vectors of positions start … start + T - 1 to `x`.

        Raises ValueError if a position lies outside the table.
        """
        stop = start + x.size(1)
        if start < 0 or stop > self.table.num_embeddings:
            size = self.table.num_embeddings
            raise ValueError(f"positions {start}…{stop - 1} lie outside the table of {size}")
        return x + self.table.weight[start:stop]
