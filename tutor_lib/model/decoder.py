"""The decoder-only transformer: token ids in, logits for the next token out."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.core import causal_mask
from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.ffn.norm import RMSNorm
from tutor_lib.model.block import Block
from tutor_lib.model.config import DecoderConfig


class Decoder(nn.Module):
    """Embed, L blocks, norm, unembed. The unembedding is the embedding's transpose.

    RoPE, RMSNorm, SwiGLU and grouped queries as in Llama 2 (arXiv:2307.09288); tied
    embeddings as in Press and Wolf 2017 (arXiv:1608.05859).
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        rotary = RotaryEmbedding(config.head_size, config.context_length, config.rope_base)
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.blocks = nn.ModuleList(Block(config, rotary) for _ in range(config.n_layers))
        self.final_norm = RMSNorm(config.d_model, config.norm_eps)
        self._initialise()

    def forward(
        self, ids: Int[Tensor, "B T"], caches: list[KVCache] | None = None
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`.

        With `caches` (one a layer, from `new_caches`), `ids` continue what the caches hold.

        Raises ValueError if an id is outside the vocabulary or the text outgrows the context.
        """
        start = caches[0].length if caches else 0
        self._check_length(start + ids.size(1))
        self._check_ids(ids)
        mask = causal_mask(ids.size(1), start + ids.size(1), device=ids.device)
        x = self.embedding(ids)  # (B, T, C)
        for i, block in enumerate(self.blocks):
            x = block(x, mask, caches[i] if caches else None)
        return self.unembed(x)

    def unembed(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Compare the normalised vector with every token's embedding."""
        return self.final_norm(x) @ self.embedding.weight.T

    def new_caches(self, batch: int, capacity: int | None = None) -> list[KVCache]:
        """An empty cache for each layer, of `capacity` positions (the whole context if None).

        Raises ValueError if `capacity` exceeds the context.
        """
        config, weight = self.config, self.embedding.weight
        capacity = config.context_length if capacity is None else capacity
        self._check_length(capacity)
        sizes = (batch, config.n_kv_heads, capacity, config.head_size)
        return [KVCache(*sizes, weight.dtype, weight.device) for _ in self.blocks]

    def _check_length(self, length: int) -> None:
        if length > self.config.context_length:
            raise ValueError(
                f"{length} tokens do not fit the context of {self.config.context_length}"
            )

    def _check_ids(self, ids: Int[Tensor, "B T"]) -> None:
        outside = ids[(ids < 0) | (ids >= self.config.vocab_size)]
        if outside.numel():
            raise ValueError(
                f"token id {int(outside[0])} is outside 0…{self.config.vocab_size - 1}"
            )

    @torch.no_grad()
    def _initialise(self) -> None:
        """Normal weights, σ = 0.02; what writes to the residual stream starts √(2L) smaller.

        Radford et al. 2019, §2.3: L layers write 2L times, and their sum keeps its scale.
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                continue
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            scale = math.sqrt(2 * self.config.n_layers) if writes else 1.0
            parameter.normal_(std=0.02 / scale)
