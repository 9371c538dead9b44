"""gMLP: neither attention nor recurrence, but fixed weights between positions."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.ffn.norm import LayerNorm
from tutor_lib.rivals.language_model import Recurrent


class SpatialGatingUnit(nn.Module):
    """One half of the channels is gated by the other, mixed over positions.

    s(Z) = Z₁ ⊙ (W norm(Z₂) + b): Liu et al. 2021, §2.1 (arXiv:2105.08050). W holds a weight for
    each pair of positions, the same for every text and every channel; b has one number a
    position. W is lower-triangular here, as a language model asks. W starts near 0 and b at 1,
    so that at first Z₁ passes and every token is on its own.

    Raises ValueError if a size is not positive.
    """

    def __init__(self, d_gate: int, context_length: int) -> None:
        super().__init__()
        if d_gate < 1 or context_length < 1:
            raise ValueError(f"sizes must be positive, got {d_gate} and {context_length}")
        self.norm = LayerNorm(d_gate)
        self.weight = nn.Parameter(torch.empty(context_length, context_length))
        self.bias = nn.Parameter(torch.ones(context_length))
        nn.init.normal_(self.weight, std=1e-3)

    def forward(
        self, z: Float[Tensor, "B T F"], past: Float[Tensor, "B P G"]
    ) -> tuple[Float[Tensor, "B T G"], Float[Tensor, "B S G"]]:
        """Gate T tokens after P others, G = F / 2; return norm(Z₂) of all S = P + T, too.

        Raises ValueError if they do not fit the context.
        """
        start, stop = past.size(1), past.size(1) + z.size(1)
        if stop > len(self.bias):
            raise ValueError(f"{stop} tokens do not fit the context of {len(self.bias)}")
        passed, gate = z.chunk(2, dim=-1)
        past = torch.cat((past, self.norm(gate)), dim=1)  # (B, S, G)
        weight = self.weight[start:stop, :stop].tril(start)  # (T, S)
        return passed * (weight @ past + self.bias[start:stop, None]), past


class GMLP(Recurrent):
    """Widen to F, bend, gate across positions, come back to C.

    Z = GELU(x U + u), y = s(Z) V + v: Liu et al. 2021, eq. 1 (arXiv:2105.08050). The norm before
    and the shortcut around it are the frame's. Its state is all it has seen, as a KV cache is.

    Raises ValueError if F is odd or a size is not positive.
    """

    def __init__(self, d_model: int, d_ff: int, context_length: int) -> None:
        super().__init__()
        if d_model < 1 or d_ff < 1 or d_ff % 2:
            raise ValueError(f"need d_model > 0 and an even d_ff > 0, got {d_model} and {d_ff}")
        self.up_proj = nn.Linear(d_model, d_ff)
        self.gating = SpatialGatingUnit(d_ff // 2, context_length)
        self.down_proj = nn.Linear(d_ff // 2, d_model)

    def new_state(self, batch: int) -> Float[Tensor, "B 0 G"]:
        """No token yet."""
        return self.up_proj.weight.new_zeros(batch, 0, self.down_proj.in_features)

    def resume(
        self, x: Float[Tensor, "B T C"], state: Float[Tensor, "B P G"]
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B S G"]]:
        """Read T tokens after the P that `state` holds.

        Raises ValueError if they do not fit the context.
        """
        gated, state = self.gating(functional.gelu(self.up_proj(x)), state)
        return self.down_proj(gated), state

    def step(
        self, x: Float[Tensor, "B C"], state: Float[Tensor, "B P G"]
    ) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B S G"]]:
        """Read one token. Raises ValueError if it does not fit the context."""
        y, state = self.resume(x[:, None], state)
        return y[:, 0], state
