"""Mamba-2: a state of fixed size, whose decay and input the text itself controls."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.device import widened
from tutor_lib.rivals.language_model import Recurrent
from tutor_lib.rivals.ssd import Output, ssd_chunked, ssd_recurrent


@dataclass(frozen=True)
class Mamba2Config:
    """The sizes of a layer; the paper makes H · D twice C.

    Raises ValueError if a size is not positive or G does not divide H.
    """

    d_model: int  # C
    n_heads: int  # H
    head_size: int = 64  # D
    state_size: int = 128  # N
    n_groups: int = 1  # G: heads of a group share b and c, as query heads share keys and values
    conv_size: int = 4
    chunk: int = 64
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        for name, size in vars(self).items():
            if not size > 0:
                raise ValueError(f"{name} must be positive, got {size}")
        if self.n_heads % self.n_groups:
            raise ValueError(f"n_groups={self.n_groups} does not divide n_heads={self.n_heads}")

    @property
    def inner(self) -> int:
        """H · D, the width inside the layer."""
        return self.n_heads * self.head_size

    @property
    def channels(self) -> int:
        """The width of x, b and c side by side, which the convolution runs over."""
        return self.inner + 2 * self.n_groups * self.state_size


class Mamba2State(NamedTuple):
    """What a layer keeps of the past: its size does not depend on how long that was."""

    conv: Float[Tensor, "B past channels"]  # the last conv_size - 1 inputs of the convolution
    ssm: Float[Tensor, "B H D N"]


class Mamba2(Recurrent):
    """Project, mix neighbours, run the state space, gate, project back.

    Dao and Gu 2024, §7 (arXiv:2405.21060), with Δ = softplus(dt + bias) of each token and head:

        S_t = exp(-Δ_t e^{A_log}) S_{t-1} + Δ_t x_t b_tᵀ,    y_t = S_t c_t + D x_t.

    A large Δ writes the token into the state and forgets; a small one passes over it.
    Parameters bear the names that checkpoints know.
    """

    def __init__(self, config: Mamba2Config) -> None:
        super().__init__()
        self.config, channels, inner = config, config.channels, config.inner
        n_projected = inner + channels + config.n_heads  # gate; x, b, c; dt
        self.in_proj = nn.Linear(config.d_model, n_projected, bias=False)
        self.conv1d = nn.Conv1d(channels, channels, config.conv_size, groups=channels)
        # Memories from under one token to a thousand, as the paper's code draws them.
        self.A_log = nn.Parameter(torch.empty(config.n_heads).uniform_(1, 16).log())
        delta = torch.empty(config.n_heads).uniform_(math.log(1e-3), math.log(1e-1)).exp()
        self.dt_bias = nn.Parameter(delta.expm1().log())  # softplus turns it back into Δ
        self.D = nn.Parameter(torch.ones(config.n_heads))
        self.norm = GatedRMSNorm(inner, config.n_groups, config.norm_eps)
        self.out_proj = nn.Linear(inner, config.d_model, bias=False)

    def new_state(self, batch: int) -> Mamba2State:
        """Nothing read yet: zeros."""
        sizes, weight = self.config, self.in_proj.weight
        conv = weight.new_zeros(batch, sizes.conv_size - 1, sizes.channels)
        ssm = widened(weight).new_zeros(batch, sizes.n_heads, sizes.head_size, sizes.state_size)
        return Mamba2State(conv, ssm)

    def step(
        self, x: Float[Tensor, "B C"], state: Mamba2State
    ) -> tuple[Float[Tensor, "B C"], Mamba2State]:
        """Read one token of each row by the recurrence."""
        y, state = self._run(x[:, None], state, ssd_recurrent)
        return y[:, 0], state

    def resume(
        self, x: Float[Tensor, "B T C"], state: Mamba2State
    ) -> tuple[Float[Tensor, "B T C"], Mamba2State]:
        """Read T tokens by chunks.

        Raises ValueError if there is none.
        """
        if not x.size(1):
            raise ValueError(f"there is no token to read in a sequence of shape {tuple(x.shape)}")
        return self._run(x, state, partial(ssd_chunked, chunk=self.config.chunk))

    def _run(
        self, x: Tensor, state: Mamba2State, scan: Callable[..., Output]
    ) -> tuple[Tensor, Mamba2State]:
        sizes, dtype = self.config, x.dtype
        bc_size = sizes.n_groups * sizes.state_size
        widths = [sizes.inner, sizes.channels, sizes.n_heads]
        gate, mixed, dt = self.in_proj(x).split(widths, dim=-1)
        window = torch.cat((state.conv, mixed), dim=1)  # (B, past + T, channels)
        mixed = widened(functional.silu(self._convolve(window)))
        x, b, c = mixed.split([sizes.inner, bc_size, bc_size], dim=-1)
        x = x.unflatten(-1, (sizes.n_heads, -1))  # (B, T, H, D)
        b, c = (y.unflatten(-1, (sizes.n_groups, -1)) for y in (b, c))  # (B, T, G, N)
        delta = functional.softplus(widened(dt) + self.dt_bias)  # (B, T, H)
        decay = -delta * widened(self.A_log).exp()
        y, ssm = scan(delta.unsqueeze(-1) * x, decay, b, c, state.ssm)
        y = (y + self.D[:, None] * x).flatten(-2).to(dtype)
        kept = window[:, window.size(1) - state.conv.size(1) :].clone()
        return self.out_proj(self.norm(y, gate)), Mamba2State(kept, ssm)

    def _convolve(self, window: Tensor) -> Tensor:
        """Each channel's sum over the last conv_size tokens, for all tokens but the first ones.

        PyTorch's 2-D kernel takes (B, T, C) as it lies; its 1-D one would copy it, and slower.
        """
        image = window.transpose(1, 2).unsqueeze(2)  # (B, channels, 1, past + T)
        weight, channels = self.conv1d.weight.unsqueeze(2), self.config.channels
        mixed = functional.conv2d(image, weight, self.conv1d.bias, groups=channels)
        return mixed.squeeze(2).transpose(1, 2)


class GatedRMSNorm(nn.Module):
    """g · u / √(mean(u²) + ε) with u = x · silu(gate), the mean taken within each group."""

    def __init__(self, size: int, n_groups: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.n_groups, self.eps = n_groups, eps

    def forward(
        self, x: Float[Tensor, "*lead inner"], gate: Float[Tensor, "*lead inner"]
    ) -> Float[Tensor, "*lead inner"]:
        """Gate, then normalise each group of each token by itself."""
        # In float16 squares would overflow from 256 on.
        gated = widened(x) * functional.silu(widened(gate))
        groups = gated.unflatten(-1, (self.n_groups, -1))
        scale = torch.rsqrt(groups.square().mean(-1, keepdim=True) + self.eps)
        return self.weight * (groups * scale).flatten(-2).to(x.dtype)
