"""A decoder of Mamba-2 layers with attention in some places."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from tutor_lib.embed.rope import RotaryEmbedding, rotate
from tutor_lib.ffn.dense import SwiGLUFeedForward
from tutor_lib.ffn.norm import RMSNorm
from tutor_lib.rivals.attention import CausalAttention
from tutor_lib.rivals.language_model import LanguageModel
from tutor_lib.rivals.mamba2 import Mamba2, Mamba2Config


@dataclass(frozen=True)
class HybridConfig:
    """A hybrid in numbers, checked when made.

    Raises ValueError if a size is not positive, the parts differ in width, an attention layer
    is outside the L layers, or RoPE turns an odd number or more than a head has.
    """

    vocab_size: int  # V
    n_layers: int  # L
    d_ff: int  # F
    mamba: Mamba2Config
    n_heads: int  # H, of attention
    n_kv_heads: int  # K
    attention_layers: Sequence[int]  # the other layers are Mamba-2; range(4, L, 8) is Jamba's
    rotary_size: int = 0  # how many numbers of a head RoPE turns; 0: the mask alone tells order
    context_length: int = 4096  # as far as RoPE's table goes
    rope_base: float = 10_000.0

    def __post_init__(self) -> None:
        for name in ("vocab_size", "n_layers", "d_ff", "n_heads", "n_kv_heads", "context_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide d_model={self.d_model}")
        if outside := set(self.attention_layers) - set(range(self.n_layers)):
            raise ValueError(f"no layers {sorted(outside)} among {self.n_layers}")
        if self.rotary_size % 2 or not 0 <= self.rotary_size <= self.d_model // self.n_heads:
            head_size = self.d_model // self.n_heads
            raise ValueError(f"RoPE cannot turn {self.rotary_size} numbers of {head_size}")

    @property
    def d_model(self) -> int:
        """C: the width of the Mamba-2 layers, and so of all."""
        return self.mamba.d_model


class Hybrid(LanguageModel):
    """Attention looks any token up, and pays for it with a cache that grows; Mamba-2 does not.

    Each layer is one or the other, then a SwiGLU FFN. One attention layer in eight was enough
    for Jamba: Lieber et al. 2024 (arXiv:2403.19887), which has Mamba-1, mixtures of experts
    and no positions. With Mamba-2, dense FFNs and RoPE on half of each head this is Bamba, as
    `transformers` has it.
    """

    def __init__(self, config: HybridConfig) -> None:
        layers = []
        for i in range(config.n_layers):
            layers += [_mixer(config, i), SwiGLUFeedForward(config.d_model, config.d_ff)]
        norm = partial(RMSNorm, eps=config.mamba.norm_eps)
        super().__init__(config.vocab_size, config.d_model, layers, norm)
        self.config = config


def _mixer(config: HybridConfig, layer: int) -> Mamba2 | CausalAttention:
    if layer not in config.attention_layers:
        return Mamba2(config.mamba)
    size, rotary = config.rotary_size, None
    if size:
        rotary = RotaryEmbedding(size, config.context_length, config.rope_base, turn=rotate_first)
    return CausalAttention(config.d_model, config.n_heads, config.n_kv_heads, rotary)


def rotate_first(
    x: Float[Tensor, "*lead T D"], angles: Float[Tensor, "*#lead T half"]
) -> Float[Tensor, "*lead T D"]:
    """Turn the first numbers of each head, two an angle, and leave the others as they are."""
    size = 2 * angles.size(-1)
    return torch.cat((rotate(x[..., :size], angles), x[..., size:]), dim=-1)
