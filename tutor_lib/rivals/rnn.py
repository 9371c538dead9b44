"""Recurrent networks: all that is known of the past is one state, rewritten at every token."""

from abc import abstractmethod

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tutor_lib.rivals.language_model import Recurrent

State = tuple[Float[Tensor, "B C"], ...]  # the first is h, which is also the output


class RecurrentNetwork(Recurrent):
    """A layer that reads token by token: what it writes at t depends on x_t and its state.

    W reads the input and U the state, `n_blocks` blocks of C rows each in one product. W x_t
    waits for nobody, so it is computed for all tokens at once; U h_{t-1} has to wait its turn.
    That wait is what attention did away with.

    Raises ValueError if a width is not positive.
    """

    n_blocks = 1  # the products that a token needs: one, or one a gate
    n_states = 1

    def __init__(self, d_model: int, d_input: int | None = None) -> None:
        super().__init__()
        d_input = d_model if d_input is None else d_input
        if d_model < 1 or d_input < 1:
            raise ValueError(f"widths must be positive, got {d_model} and {d_input}")
        self.d_model = d_model
        self.input_proj = nn.Linear(d_input, self.n_blocks * d_model)
        self.state_proj = nn.Linear(d_model, self.n_blocks * d_model, bias=False)
        self._initialise()

    def resume(
        self, x: Float[Tensor, "B T Cin"], state: State, mask: Bool[Tensor, "B T"] | None = None
    ) -> tuple[Float[Tensor, "B T C"], State]:
        """Read T tokens on from `state`; return h after each, and the state after the last.

        `mask` is False at what fills a row up: there the state stays as it is.
        """
        outputs = [state[0][:, None][:, :0]]
        for t, z in enumerate(self.input_proj(x).unbind(1)):
            new = self.update(z, state)
            state = new if mask is None else keep_where(~mask[:, t, None], state, new)
            outputs.append(state[0][:, None])
        return torch.cat(outputs, dim=1), state

    def step(self, x: Float[Tensor, "B Cin"], state: State) -> tuple[Float[Tensor, "B C"], State]:
        """Read one token; return h and the new state."""
        state = self.update(self.input_proj(x), state)
        return state[0], state

    @abstractmethod
    def update(self, z: Float[Tensor, "B G"], state: State) -> State:
        """The state after a token of which z = W x + b is known."""

    def new_state(self, batch: int) -> State:
        """What is known before the first token: zeros."""
        return (self.state_proj.weight.new_zeros(batch, self.d_model),) * self.n_states

    @torch.no_grad()
    def _initialise(self) -> None:
        """Orthogonal U, b = 0.

        An orthogonal U keeps the length of what it turns, so that the past neither fades nor
        explodes before training has begun: Saxe et al. 2014 (arXiv:1312.6120).
        """
        for block in self.state_proj.weight.split(self.d_model):
            nn.init.orthogonal_(block)
        self.input_proj.bias.zero_()


class RNN(RecurrentNetwork):
    """h_t = tanh(W x_t + U h_{t-1} + b): Elman 1990, "Finding structure in time".

    Every step multiplies the gradient by Uᵀ diag(1 - h_t²), so that what was read n tokens ago
    fades exponentially in n, or explodes: Pascanu et al. 2013 (arXiv:1211.5063).
    `tutor_lib.rivals.past` measures it. 2C² + C parameters.
    """

    def update(self, z: Float[Tensor, "B G"], state: State) -> State:
        """The state after a token of which z = W x + b is known."""
        (h,) = state
        return (torch.tanh(z + self.state_proj(h)),)


class LSTM(RecurrentNetwork):
    """Long short-term memory: a cell that is added to, and gates that open and close.

        i, f, o = σ(W x_t + U h_{t-1} + b), each with weights of its own; g = tanh(…) likewise
        c_t = f ⊙ c_{t-1} + i ⊙ g
        h_t = o ⊙ tanh(c_t)

    Hochreiter and Schmidhuber 1997, with the forget gate f of Gers et al. 2000. Along the cell
    the gradient is multiplied by f alone: where f ≈ 1 the past stays. The blocks of W and U are
    in PyTorch's order, i f g o. 8C² + 4C parameters.
    """

    n_blocks = 4
    n_states = 2

    def update(self, z: Float[Tensor, "B G"], state: State) -> State:
        """The state after a token of which z = W x + b is known."""
        h, c = state
        i, f, g, o = (z + self.state_proj(h)).chunk(4, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        return o.sigmoid() * c.tanh(), c

    @torch.no_grad()
    def _initialise(self) -> None:
        """As ever, but a forget gate that starts open.

        With a bias of 1 it lets σ(1) = 73 % of the cell through at each token and not half of
        it: Gers et al. 2000; Jozefowicz et al. 2015, "An empirical exploration of recurrent
        network architectures".
        """
        super()._initialise()
        self.input_proj.bias[self.d_model : 2 * self.d_model] = 1.0


def keep_where(stays: Bool[Tensor, "B 1"], old: State, new: State) -> State:
    """The old state in rows where `stays`, and the new one in the others."""
    return tuple(torch.where(stays, a, b) for a, b in zip(old, new, strict=True))
