"""A decoder that is told everything: where its tokens stand, who may look, what is kept."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tutor_lib.attention.core import scaled_dot_product_attention
from tutor_lib.attention.multihead import GroupedQueryAttention, repeat_kv
from tutor_lib.model.decoder import Decoder

Repeat = Callable[[Tensor, int], Tensor]


@runtime_checkable
class Cache(Protocol):
    """What the decoder asks of a cache: one a layer."""

    length: int

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep k and v, (B, K, T, D); return what to attend to, (B, K, S, D)."""


class BareDecoder(nn.Module):
    """The layers of a decoder, with nothing decided for the caller.

    `tokens` counts the tokens that went through the model so far, in all rows together.
    """

    def __init__(self, decoder: Decoder, repeat: Repeat = repeat_kv) -> None:
        """`repeat` hands the key/value heads to the query heads that share them."""
        super().__init__()
        self.decoder, self.repeat = decoder, repeat
        self.config = decoder.config
        self.tokens = 0

    @torch.no_grad()
    def forward(
        self, ids: Tensor, positions: Tensor, mask: Tensor, caches: list[Any] | None = None
    ) -> Tensor:
        """Logits (B, T, V) for the token after each of `ids`, (B, T).

        positions: (T,), where in the text each token stands. mask: (T, S), bool, True where a
        query may look; S counts what the caches hold already, and these T. caches: one a layer,
        or None, and then S = T.
        """
        check(ids, positions, mask, caches)
        self.tokens += ids.numel()
        x = self.decoder.embed(ids, positions=positions.expand(ids.shape))  # (B, T, C)
        block: Any
        for layer, block in enumerate(self.decoder.blocks):
            cache = caches[layer] if caches else None
            read = block.attention_norm(x)
            x = x + attend(block.attention, read, positions, mask, cache, self.repeat)
            x = x + block.ffn(block.ffn_norm(x))
        return self.decoder.unembed(x)


def attend(
    layer: GroupedQueryAttention,
    x: Tensor,
    positions: Tensor,
    mask: Tensor,
    cache: Cache | None,
    repeat: Repeat,
) -> Tensor:
    """One layer's attention, from x, (B, T, C), to all that `cache` hands back."""
    q = layer.q_proj(x).unflatten(-1, (layer.n_heads, -1)).transpose(1, 2)  # (B, H, T, D)
    k = layer.k_proj(x).unflatten(-1, (layer.n_kv_heads, -1)).transpose(1, 2)  # (B, K, T, D)
    v = layer.v_proj(x).unflatten(-1, (layer.n_kv_heads, -1)).transpose(1, 2)  # (B, K, T, D)
    if layer.rotary is not None:
        q = layer.rotary(q, positions=positions[None])
        k = layer.rotary(k, positions=positions[None])
    if cache is not None:
        k, v = cache.update(k, v)  # (B, K, S, D): the new ones, and all before them
    group = layer.n_heads // layer.n_kv_heads
    mixed, _ = scaled_dot_product_attention(q, repeat(k, group), repeat(v, group), mask)
    return layer.o_proj(mixed.transpose(1, 2).flatten(-2))


def check(ids: Tensor, positions: Tensor, mask: Tensor, caches: list[Any] | None) -> None:
    """Raise ValueError if the arguments do not fit each other."""
    if ids.ndim != 2 or ids.is_floating_point():
        raise ValueError(f"ids must be (B, T) whole numbers, got {_told(ids)}")
    n_new = ids.size(1)
    if positions.shape != (n_new,) or positions.is_floating_point():
        raise ValueError(f"positions must be ({n_new},) whole numbers, got {_told(positions)}")
    before = caches[0].length if caches else 0
    wanted = (n_new, before + n_new)
    if mask.shape != wanted or mask.dtype != torch.bool:
        raise ValueError(
            f"with {before} tokens in the caches and {n_new} coming, the mask must be bool "
            f"{wanted}, got {_told(mask)}"
        )


def _told(x: Tensor) -> str:
    return f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)}"
