"""One frame for all that reads a sequence, so that layers can be compared at equal size.

A layer maps (B, T, C) to (B, T, C). It may be attention, an FFN, a recurrence, a state space:

    LanguageModel(V, C, [CausalAttention(C, H, K, rotary), SwiGLUFeedForward(C, F)])
    LanguageModel(V, C, [Mamba2(Mamba2Config(C, H)), SwiGLUFeedForward(C, F)])
    LanguageModel(V, C, [TimeMixing(C), ChannelMixing(C, F)], LayerNorm)
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutor_lib.ffn.norm import RMSNorm
from tutor_lib.model.layers import check_ids


class Recurrent(nn.Module, ABC):
    """A layer that keeps what it has read in a state, and goes on from there.

    A subclass gives `new_state` and `step`; where many tokens can be read faster than one by
    one, it gives `resume` too. States are replaced, not changed, so an old one can be gone back
    to.
    """

    @abstractmethod
    def new_state(self, batch: int) -> Any:
        """What the layer knows before the first token."""

    @abstractmethod
    def step(self, x: Float[Tensor, "B C"], state: Any) -> tuple[Float[Tensor, "B C"], Any]:
        """Read one token of each row; return the output and the state after it."""

    def resume(self, x: Float[Tensor, "B T C"], state: Any) -> tuple[Float[Tensor, "B T C"], Any]:
        """Read T tokens, from the state that the ones before have left."""
        outputs = [x[:, :0]]
        for x_t in x.unbind(1):
            y, state = self.step(x_t, state)
            outputs.append(y[:, None])
        return torch.cat(outputs, dim=1), state

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T C"]:
        """Read a whole sequence."""
        return self.resume(x, self.new_state(len(x)))[0]


class LanguageModel(nn.Module):
    """Embed, add each layer's view of the residual stream to it, norm, unembed.

    x ← x + layer(norm(x)), then logits norm(x) Eᵀ with the embedding E; pre-norm as in
    `tutor_lib.model.block`. A transformer's layer is two of these: attention, then an FFN.
    Layers keep the weights they came with; E starts normal, σ = 0.02.

    Raises ValueError if there is no layer, or a size is not positive.
    """

    def __init__(
        self,
        vocab_size: int,
        d_model: int,
        layers: Sequence[nn.Module],
        norm: Callable[[int], nn.Module] = RMSNorm,
    ) -> None:
        super().__init__()
        if min(vocab_size, d_model, len(layers)) < 1:
            sizes = (vocab_size, d_model, len(layers))
            raise ValueError(f"need a vocabulary, a width and layers, got {sizes}")
        self.vocab_size = vocab_size
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norm(d_model) for _ in layers)
        self.final_norm = norm(d_model)
        nn.init.normal_(self.embedding.weight, std=0.02)

    def forward(
        self, ids: Int[Tensor, "B T"], caches: list[Any] | None = None
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`.

        With `caches` (one a layer, from `new_caches`), `ids` continue what was read before, and
        each cache is replaced by the state after them.

        Raises ValueError if an id is outside the vocabulary.
        """
        check_ids(ids, self.vocab_size)
        x = self.embedding(ids)  # (B, T, C)
        for i, (norm, layer) in enumerate(zip(self.norms, self.layers, strict=True)):
            y = norm(x)
            if caches is not None and isinstance(layer, Recurrent):
                y, caches[i] = layer.resume(y, caches[i])
            else:
                y = layer(y)
            x = x + y
        return self.final_norm(x) @ self.embedding.weight.T

    def new_caches(self, batch: int, capacity: int | None = None) -> list[Any]:
        """What each layer knows before the first token; states need no room in advance.

        None for layers that are no `Recurrent`: like an FFN, they must see each token alone.
        """
        return [x.new_state(batch) if isinstance(x, Recurrent) else None for x in self.layers]


def state_bytes(state: Any) -> int:
    """How many bytes a layer's state takes, or all states of a model."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    return 0 if state is None else sum(map(state_bytes, state))


@torch.no_grad()
def state_bytes_after(model: LanguageModel, n_tokens: int) -> list[int]:
    """How many bytes each layer keeps of a text of `n_tokens`: 0 where it has no state.

    What it holds before the first token, and n times what that token adds: 2 · K · D numbers in
    attention, nothing in a recurrence. So no long text need be read.

    Raises ValueError if `n_tokens` is negative.
    """
    if n_tokens < 0:
        raise ValueError(f"a text has at least 0 tokens, got {n_tokens}")
    caches = model.new_caches(batch=1)
    before = [*map(state_bytes, caches)]
    model(torch.zeros(1, 1, dtype=torch.long, device=model.embedding.weight.device), caches)
    after = map(state_bytes, caches)
    return [a + n_tokens * (b - a) for a, b in zip(before, after, strict=True)]
