"""Rotary position embedding, in the half-split layout of Llama."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def rope_angles(length: int, head_size: int, base: float) -> Float[Tensor, "T half"]:
    """The angle t·θ_i for each position t and pair i.

    θ_i = base^(-2i/D), i = 0 … D/2 - 1, in radians: Su et al. 2021, §3.2.2
    (arXiv:2104.09864).

    Raises ValueError if `head_size` is odd or not positive, or `base` is not positive.
    """
    if head_size <= 0 or head_size % 2:
        raise ValueError(f"head_size must be positive and even, got {head_size}")
    if base <= 0:
        raise ValueError(f"base must be positive, got {base}")
    frequencies = base ** (-torch.arange(0, head_size, 2) / head_size)  # θ, (D/2)
    return torch.arange(length)[:, None] * frequencies


def rotate(
    x: Float[Tensor, "*lead T D"], angles: Float[Tensor, "T half"]
) -> Float[Tensor, "*lead T D"]:
    """Turn each pair (x_i, x_{i+D/2}) by its angle: the half-split layout.

    The paper pairs neighbours (x_{2i}, x_{2i+1}) instead; the two differ by a fixed
    permutation of the D numbers. Rotation keeps lengths, and q·k then depends only on how
    far apart the two positions are.
    """
    left, right = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class RotaryEmbedding(nn.Module):
    """Rotates queries and keys by their positions, from a table of angles made once."""

    angles: Float[Tensor, "T half"]

    def __init__(self, head_size: int, context_length: int, base: float = 10_000.0) -> None:
        super().__init__()
        angles = rope_angles(context_length, head_size, base)
        self.register_buffer("angles", angles, persistent=False)

    def forward(self, x: Float[Tensor, "B H T D"], start: int = 0) -> Float[Tensor, "B H T D"]:
        """Rotate `x`, whose first row stands at position `start`.

        Raises ValueError if a position lies outside the table.
        """
        stop = start + x.size(-2)
        if start < 0 or stop > len(self.angles):
            raise ValueError(
                f"positions {start}…{stop - 1} lie outside the context of {len(self.angles)}"
            )
        return rotate(x, self.angles[start:stop])
