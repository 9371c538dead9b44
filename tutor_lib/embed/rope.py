"""Rotary position embedding, in both layouts, at any positions."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutor_lib.embed.rope_scaling import RopeScaling


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
    x: Float[Tensor, "*lead T D"], angles: Float[Tensor, "*#lead T half"]
) -> Float[Tensor, "*lead T D"]:
    """Turn each pair (x_i, x_{i+D/2}) by its angle: the half-split layout.

    The paper pairs neighbours (x_{2i}, x_{2i+1}) instead; the two differ by a fixed
    permutation of the D numbers. Rotation keeps lengths, and q·k then depends only on how
    far apart the two positions are.
    """
    left, right = x.chunk(2, dim=-1)
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


def rotate_interleaved(
    x: Float[Tensor, "*lead T D"], angles: Float[Tensor, "*#lead T half"]
) -> Float[Tensor, "*lead T D"]:
    """Turn each pair of neighbours (x_{2i}, x_{2i+1}) by its angle: the paper's layout.

    Su et al. 2021, eq. 34 (arXiv:2104.09864); GPT-J's and DeepSeek's too.
    """
    even, odd = x[..., 0::2], x[..., 1::2]
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1).flatten(-2)


def interleaved_to_half_split(x: Float[Tensor, "*lead D"]) -> Float[Tensor, "*lead D"]:
    """Reorder the last axis: pair i moves from places 2i, 2i + 1 to places i, i + D/2.

    Applied to the rows of W_q and W_k of each head, it turns a checkpoint made for one layout
    into one for the other: q·k does not see the order of the D numbers.
    """
    return torch.cat((x[..., 0::2], x[..., 1::2]), dim=-1)


def half_split_to_interleaved(x: Float[Tensor, "*lead D"]) -> Float[Tensor, "*lead D"]:
    """Undo `interleaved_to_half_split`."""
    return torch.stack(x.chunk(2, dim=-1), dim=-1).flatten(-2)


class RotaryEmbedding(nn.Module):
    """Rotates queries and keys by their positions, from a table of angles made once.

    `turn` is `rotate` or `rotate_interleaved`. `scaling` stretches a model to a context longer
    than it was trained on.
    """

    angles: Float[Tensor, "T half"]

    def __init__(
        self,
        head_size: int,
        context_length: int,
        base: float = 10_000.0,
        scaling: RopeScaling | None = None,
        turn: Callable[[Tensor, Tensor], Tensor] = rotate,
    ) -> None:
        super().__init__()
        self.head_size, self.base, self.turn = head_size, base, turn
        self.scaling = scaling or RopeScaling()
        self.register_buffer("angles", self._table(context_length), persistent=False)

    def make_table(self, device: torch.device | str) -> None:
        """Make the table anew on `device`, as after loading into a model on the meta device."""
        self.angles = self._table(len(self.angles), device)

    def forward(
        self,
        x: Float[Tensor, "B H T D"],
        start: int = 0,
        positions: Int[Tensor, "*#B T"] | None = None,
    ) -> Float[Tensor, "B H T D"]:
        """Rotate `x`, whose first row stands at position `start`, or whose rows at `positions`.

        Raises ValueError if a position lies outside the context.
        """
        angles = self._angles(start, start + x.size(-2), positions)
        return self.turn(x, angles) * self.scaling.attention_factor

    def _angles(self, start: int, stop: int, positions: Tensor | None) -> Tensor:
        if positions is not None and positions.numel():
            start, stop = int(positions.min()), int(positions.max()) + 1
        if start < 0 or stop > len(self.angles):
            raise ValueError(
                f"positions {start}…{stop - 1} lie outside the context of {len(self.angles)}"
            )
        table = self.angles
        if self.scaling.follows_length:
            table = self._table(stop, table.device)
        return table[start:stop] if positions is None else table[positions].unsqueeze(-3)

    def _table(
        self, length: int, device: torch.device | str | None = None
    ) -> Float[Tensor, "T half"]:
        plain = rope_angles(2, self.head_size, self.base)[1]  # at position 1: θ itself
        scaled = self.scaling.frequencies(plain, self.base, length)
        return (torch.arange(length)[:, None] * scaled).to(device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "RotaryEmbedding":
        """Move with the model, but stay float32: bfloat16 cannot tell position 1,000 from 1,001."""
        angles = self.angles
        super()._apply(fn, recurse)
        self.angles = angles.to(self.angles.device)
        return self
