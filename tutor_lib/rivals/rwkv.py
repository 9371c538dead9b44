"""RWKV-4: a recurrent network that attends to its past with a fixed decay a channel.

Peng et al. 2023 (arXiv:2305.13048). A layer is two: `TimeMixing` in the place of attention and
`ChannelMixing` in that of the FFN, each behind a LayerNorm and added to the residual stream.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutor_lib.device import widened
from tutor_lib.rivals.language_model import Recurrent


class WKVState(NamedTuple):
    """A weighted mean of values, as a sum over another sum, both divided by e^largest."""

    numerator: Float[Tensor, "B C"]
    denominator: Float[Tensor, "B C"]
    largest: Float[Tensor, "B C"]  # the largest exponent so far; -∞ before the first token


class TimeMixingState(NamedTuple):
    """What time mixing keeps of the past."""

    last: Float[Tensor, "B C"]  # the input before
    wkv: WKVState


def wkv(
    k: Float[Tensor, "B T C"],
    v: Float[Tensor, "B T C"],
    decay: Float[Tensor, "C"],
    bonus: Float[Tensor, "C"],
    state: WKVState,
) -> tuple[Float[Tensor, "B T C"], WKVState]:
    """For each channel, the mean of the values so far; older ones weigh less.

    wkv_t = (Σ_{i<t} e^{-(t-1-i) w + k_i} v_i + e^{u + k_t} v_t) / (the same sum without v):
    Peng et al. 2023 (arXiv:2305.13048), with `decay` w ≥ 0 and `bonus` u. One token after the
    other; also returns the sums after the last.
    """
    outputs = []
    for k_t, v_t in zip(k.unbind(1), v.unbind(1), strict=True):
        now = _add(state, k_t + bonus, v_t)
        outputs.append(now.numerator / now.denominator)
        state = _add(state._replace(largest=state.largest - decay), k_t, v_t)
    return torch.stack(outputs, dim=1), state


def _add(state: WKVState, exponent: Tensor, v: Tensor) -> WKVState:
    """The sums with one more value, of weight e^exponent, so that no exponential overflows."""
    largest = torch.maximum(state.largest, exponent)
    old, new = (state.largest - largest).exp(), (exponent - largest).exp()
    return WKVState(old * state.numerator + new * v, old * state.denominator + new, largest)


def wkv_chunked(
    k: Float[Tensor, "B T C"],
    v: Float[Tensor, "B T C"],
    decay: Float[Tensor, "C"],
    bonus: Float[Tensor, "C"],
    state: WKVState,
    chunk: int = 8,
) -> tuple[Float[Tensor, "B T C"], WKVState]:
    """The same, `chunk` tokens at once.

    Within a chunk each channel is an attention without queries: softmax(k_i + bias_{ti}), the
    bias given by `decay` and `bonus`. What came before the chunk is one more token to look at.

    Raises ValueError if `chunk` is not positive.
    """
    if chunk < 1:
        raise ValueError(f"a chunk needs at least one token, got {chunk}")
    bias, outputs = wkv_bias(min(chunk, k.size(1)), decay, bonus), []
    for k_chunk, v_chunk in zip(k.split(chunk, 1), v.split(chunk, 1), strict=True):
        size = k_chunk.size(1) + 1
        exponents = torch.cat((state.largest[:, None], k_chunk), dim=1)
        exponents = exponents[:, None] + bias[:size, :size]  # (B, L + 1, 1 + L, C)
        largest = exponents.amax(2, keepdim=True).detach()
        weights = (exponents - largest).exp()
        above = torch.cat((state.numerator[:, None], v_chunk), dim=1)  # (B, 1 + L, C)
        below = torch.cat((state.denominator[:, None], torch.ones_like(v_chunk)), dim=1)
        numerator = (weights * above[:, None]).sum(2)  # (B, L + 1, C)
        denominator = (weights * below[:, None]).sum(2)
        outputs.append((numerator / denominator)[:, :-1])
        state = WKVState(numerator[:, -1], denominator[:, -1], largest[:, -1, 0])
    return torch.cat(outputs, dim=1), state


def wkv_bias(
    length: int, decay: Float[Tensor, "C"], bonus: Float[Tensor, "C"]
) -> Float[Tensor, "rows columns C"]:
    """What is added to the exponents of a chunk: a row a token, and one for the sums at the end.

    Column 0 is what came before the chunk, column i + 1 is token i. At row t: -t w, then
    -(t-1-i) w where i < t, u where i = t, and -∞ where i > t.
    """
    rows = torch.arange(length + 1, device=decay.device)
    age = rows[:, None] - rows  # (L + 1, 1 + L): t - 1 - i, and t in column 0
    bias = -age[..., None] * decay
    bias = torch.where((age == -1)[..., None], bonus, bias)
    return bias.masked_fill((age < -1)[..., None], float("-inf"))


class TimeMixing(Recurrent):
    """W_o (σ(r) ⊙ wkv), with r, k and v made from each token and the one before it.

    r_t = W_r (μ_r ⊙ x_t + (1 - μ_r) ⊙ x_{t-1}), and k and v likewise. `decay` w is e^log_decay,
    so that it stays positive. 4C² + 5C parameters.

    Raises ValueError if the width is not positive.
    """

    def __init__(self, d_model: int) -> None:
        super().__init__()
        if d_model < 1:
            raise ValueError(f"the width must be positive, got {d_model}")
        self.r_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_model, bias=False)
        self.v_proj = nn.Linear(d_model, d_model, bias=False)
        self.o_proj = nn.Linear(d_model, d_model, bias=False)
        share = torch.arange(d_model) / d_model
        self.r_share = nn.Parameter(share.sqrt())
        self.k_share = nn.Parameter(share.clone())
        self.v_share = nn.Parameter(share.clone())
        # Channels of every memory: from a few hundred tokens to less than one.
        self.log_decay = nn.Parameter(torch.linspace(-5, 3, d_model))
        self.bonus = nn.Parameter(torch.full((d_model,), 0.3).log())

    def new_state(self, batch: int) -> TimeMixingState:
        """Nothing read yet."""
        last = self.o_proj.weight.new_zeros(batch, len(self.bonus))
        zeros = widened(last)
        return TimeMixingState(last, WKVState(zeros, zeros, zeros - torch.inf))

    def step(
        self, x: Float[Tensor, "B C"], state: TimeMixingState
    ) -> tuple[Float[Tensor, "B C"], TimeMixingState]:
        """Read one token of each row."""
        y, state = self._run(x[:, None], state, wkv)
        return y[:, 0], state

    def resume(
        self, x: Float[Tensor, "B T C"], state: TimeMixingState
    ) -> tuple[Float[Tensor, "B T C"], TimeMixingState]:
        """Read T tokens by chunks.

        Raises ValueError if there is none.
        """
        return self._run(x, state, wkv_chunked)

    def _run(
        self, x: Tensor, state: TimeMixingState, mean: Callable[..., tuple[Tensor, WKVState]]
    ) -> tuple[Tensor, TimeMixingState]:
        before = token_shift(x, state.last)
        r = self.r_proj(torch.lerp(before, x, self.r_share)).sigmoid()
        k = widened(self.k_proj(torch.lerp(before, x, self.k_share)))
        v = widened(self.v_proj(torch.lerp(before, x, self.v_share)))
        decay, bonus = widened(self.log_decay).exp(), widened(self.bonus)
        mixed, after = mean(k, v, decay, bonus, state.wkv)
        return self.o_proj(r * mixed.to(x.dtype)), TimeMixingState(x[:, -1].clone(), after)


class ChannelMixing(Recurrent):
    """σ(r) ⊙ W_v max(0, k)², with r and k made from each token and the one before it.

    C² + 2CF + 2C parameters. The state is the last input.

    Raises ValueError if a width is not positive.
    """

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        if d_model < 1 or d_ff < 1:
            raise ValueError(f"widths must be positive, got {d_model} and {d_ff}")
        self.r_proj = nn.Linear(d_model, d_model, bias=False)
        self.k_proj = nn.Linear(d_model, d_ff, bias=False)
        self.v_proj = nn.Linear(d_ff, d_model, bias=False)
        share = torch.arange(d_model) / d_model
        self.r_share = nn.Parameter(share.clone())
        self.k_share = nn.Parameter(share.clone())

    def new_state(self, batch: int) -> Float[Tensor, "B C"]:
        """Nothing read yet: zeros."""
        return self.r_proj.weight.new_zeros(batch, len(self.r_share))

    def step(
        self, x: Float[Tensor, "B C"], state: Float[Tensor, "B C"]
    ) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]:
        """Read one token of each row."""
        y, state = self.resume(x[:, None], state)
        return y[:, 0], state

    def resume(
        self, x: Float[Tensor, "B T C"], state: Float[Tensor, "B C"]
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B C"]]:
        """Read T tokens at once.

        Raises ValueError if there is none.
        """
        before = token_shift(x, state)
        r = self.r_proj(torch.lerp(before, x, self.r_share)).sigmoid()
        k = self.k_proj(torch.lerp(before, x, self.k_share)).relu().square()
        return r * self.v_proj(k), x[:, -1].clone()


def token_shift(x: Float[Tensor, "B T C"], last: Float[Tensor, "B C"]) -> Float[Tensor, "B T C"]:
    """Each token's predecessor; the first one's is `last`.

    Raises ValueError if there is no token.
    """
    if not x.size(1):
        raise ValueError(f"there is no token to read in a sequence of shape {tuple(x.shape)}")
    return torch.cat((last.unsqueeze(1), x[:, :-1]), dim=1)
