"""Attention as a layer that reads on from a state, so that it can stand beside its rivals."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tutor_lib.attention.core import causal_mask
from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.attention.scored import ScoredAttention
from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.rivals.language_model import Recurrent


class KeysAndValues(NamedTuple):
    """All that attention has seen: 2 · K · D numbers more with each token."""

    keys: Float[Tensor, "B K S D"]
    values: Float[Tensor, "B K S D"]


class CausalAttention(Recurrent):
    """Grouped-query attention to the tokens so far; `tutor_lib.attention.multihead` has it.

    Its state is the KV cache, here one that is copied as it grows. Without `rotary` order comes
    from the mask alone, or from recurrent layers beside it.

    Raises ValueError if H does not divide C or K does not divide H.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        rotary: RotaryEmbedding | None = None,
        head_size: int | None = None,
    ) -> None:
        super().__init__()
        self.attention = GroupedQueryAttention(d_model, n_heads, n_kv_heads, rotary, head_size)

    def new_state(self, batch: int) -> KeysAndValues:
        """No key and no value."""
        sizes, weight = self.attention, self.attention.k_proj.weight
        none = weight.new_zeros(batch, sizes.n_kv_heads, 0, sizes.head_size)
        return KeysAndValues(none, none)

    def step(
        self, x: Float[Tensor, "B C"], state: KeysAndValues
    ) -> tuple[Float[Tensor, "B C"], KeysAndValues]:
        """Read one token of each row. Raises ValueError if it does not fit RoPE's context."""
        y, state = self.resume(x[:, None], state)
        return y[:, 0], state

    def resume(
        self, x: Float[Tensor, "B T C"], state: KeysAndValues
    ) -> tuple[Float[Tensor, "B T C"], KeysAndValues]:
        """Read T tokens at once. Raises ValueError if they do not fit RoPE's context."""
        start, stop = state.keys.size(2), state.keys.size(2) + x.size(1)
        positions = torch.arange(start, stop, device=x.device).expand(len(x), -1)
        q, k, v = self.attention.heads(x, positions=positions)
        keys, values = torch.cat((state.keys, k), dim=2), torch.cat((state.values, v), dim=2)
        mask = causal_mask(x.size(1), stop, x.device) if start else None
        mixed = ScoredAttention().fused(q, keys, values, mask, causal=not start)
        return self.attention.o_proj(mixed.transpose(1, 2).flatten(-2)), KeysAndValues(keys, values)
