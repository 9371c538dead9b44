"""The encoder-decoder: read a source text once, write a target text that looks at it."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.core import causal_mask
from tutor_lib.attention.multihead import CrossAttention
from tutor_lib.attention.scored import Mask
from tutor_lib.embed.positions import sinusoidal_positions
from tutor_lib.model.layers import (
    DecoderBlock,
    EncoderBlock,
    StackConfig,
    check_ids,
    check_length,
    check_mask,
    last_norm,
    look_at,
)


class Memory(NamedTuple):
    """What the decoder knows of the source: each layer's keys and values, computed once."""

    layers: list[tuple[Float[Tensor, "B H S D"], Float[Tensor, "B H S D"]]]
    mask: Bool[Tensor, "B S"] | None

    def for_rows(self, batch: int) -> "Memory":
        """The memory of one source may serve many texts, as beam search asks.

        Raises ValueError if there are several sources, but not `batch`.
        """
        sources = self.layers[0][0].size(0)
        if sources == batch:
            return self
        if sources != 1:
            raise ValueError(f"{sources} sources cannot serve {batch} texts")
        shape = (batch, -1, -1, -1)
        layers = [(k.expand(shape), v.expand(shape)) for k, v in self.layers]
        return Memory(layers, None if self.mask is None else self.mask.expand(batch, -1))


class Seq2Seq(nn.Module):
    """Two stacks of layers; the second looks at what the first has made.

    Sutskever et al. 2014 (arXiv:1409.3215) with attention in place of recurrence: Vaswani et al.
    2017, §3 (arXiv:1706.03762). How positions come in, and what stands at both ends, is told by
    the subclasses.
    """

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layers))
        self.decoder = nn.ModuleList(DecoderBlock(config) for _ in range(config.n_layers))
        self.encoder_norm, self.decoder_norm = last_norm(config), last_norm(config)

    def forward(
        self,
        source: Int[Tensor, "B S"],
        target: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `target`. Raises what `encode` and `decode` do."""
        return self.decode(target, self.encode(source, mask))

    def encode(self, source: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None = None) -> Memory:
        """Read the source, and make each decoder layer's keys and values of it.

        `mask` is True at tokens and False at what fills a row up.

        Raises ValueError if an id is outside the vocabulary, the source empty or longer than
        the context, or a row without a token.
        """
        x = self.read(source, mask)
        crosses = [layer for layer in self.modules() if isinstance(layer, CrossAttention)]
        return Memory([cross.remember(x) for cross in crosses], mask)

    def read(
        self, source: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None = None
    ) -> Float[Tensor, "B S C"]:
        """A vector for each token of the source. Takes and raises what `encode` does."""
        self._check(source, source.size(1))
        if mask is not None:
            check_mask(mask, source)
        x, seen = self.embed(source), self.encoder_mask(source.size(1), mask)
        for block in self.encoder:
            x = block(x, seen)
        return self.encoder_norm(x)

    def decode(
        self, ids: Int[Tensor, "B T"], memory: Memory, caches: list[KVCache] | None = None
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`, given the source in `memory`.

        With `caches` (one a layer, from `new_caches`), `ids` continue what the caches hold.

        Raises ValueError if an id is outside the vocabulary, the text empty or longer than the
        context, or `memory` of another number of sources (one serves any number of texts).
        """
        start, n_new = caches[0].length if caches else 0, ids.size(1)
        self._check(ids, start + n_new)
        layers, mask = memory.for_rows(ids.size(0))
        seen = None if mask is None else look_at(mask, n_new)
        x, past = self.embed(ids, start), self.decoder_mask(n_new, start + n_new)
        for i, block in enumerate(self.decoder):
            x = block(x, layers[i], past, seen, caches[i] if caches else None)
        return self.unembed(self.decoder_norm(x))

    def given(
        self, source: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None = None
    ) -> "Conditioned":
        """The decoder as a language model that knows `source`, for `tutor_lib.predict`.

        Raises ValueError as `encode` does.
        """
        return Conditioned(self, self.encode(source, mask))

    def new_caches(self, batch: int, capacity: int | None = None) -> list[KVCache]:
        """An empty cache for each layer, of `capacity` positions (the whole context if None).

        Raises ValueError if `capacity` is under 1 or exceeds the context.
        """
        config, weight = self.config, self.embedding.weight
        capacity = config.context_length if capacity is None else capacity
        check_length(capacity, config)
        room = (batch, config.n_heads, capacity, config.head_size)
        return [KVCache(*room, weight.dtype, weight.device) for _ in self.decoder]

    def embed(self, ids: Int[Tensor, "B T"], start: int = 0) -> Float[Tensor, "B T C"]:
        """The vectors of `ids`, the first of which stands at position `start`."""
        return self.embedding(ids)

    def encoder_mask(self, length: int, mask: Bool[Tensor, "B S"] | None) -> Mask | None:
        """What the encoder's layers add to their scores, or hide."""
        return None if mask is None else look_at(mask, length)

    def decoder_mask(self, n_new: int, length: int) -> Mask:
        """The same for the last `n_new` of `length` positions of the decoder."""
        return causal_mask(n_new, length, self.embedding.weight.device)

    def unembed(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Compare each vector with every token's embedding."""
        return x @ self.embedding.weight.T

    def _check(self, ids: Int[Tensor, "B T"], length: int) -> None:
        check_length(length, self.config)
        check_ids(ids, self.config.vocab_size)


@dataclass(frozen=True)
class Conditioned:
    """A `LanguageModel` of texts that answer to one source each."""

    model: Seq2Seq
    memory: Memory

    def __call__(
        self, ids: Int[Tensor, "B T"], caches: list[KVCache] | None = None
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`, which continue what `caches` hold."""
        return self.model.decode(ids, self.memory, caches)

    def new_caches(self, batch: int, capacity: int | None = None) -> list[KVCache]:
        """An empty cache for each layer."""
        return self.model.new_caches(batch, capacity)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(StackConfig):
    """The original transformer in numbers.

    Raises ValueError if they are not positive or do not fit, or C is odd.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.d_model % 2:
            raise ValueError(f"d_model must be even for sines and cosines, got {self.d_model}")


class Transformer(Seq2Seq):
    """The original: post-norm layers, sinusoidal positions, one table for all three embeddings.

    Vaswani et al. 2017, §3 (arXiv:1706.03762).
    """

    positions: Float[Tensor, "T C"]

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config)
        table = sinusoidal_positions(config.context_length, config.d_model)
        self.register_buffer("positions", table, persistent=False)
        self._initialise()

    def embed(self, ids: Int[Tensor, "B T"], start: int = 0) -> Float[Tensor, "B T C"]:
        """√C · E[id] + PE(t): §3.4 and §3.5. √C undoes the small scale of a table that unembeds."""
        vectors = math.sqrt(self.config.d_model) * self.embedding(ids)
        return vectors + self.positions[start : start + ids.size(1)]

    @torch.no_grad()
    def _initialise(self) -> None:
        """As its authors' code: Glorot and Bengio's uniform, and σ = 1/√C for the embeddings."""
        nn.init.normal_(self.embedding.weight, std=self.config.d_model**-0.5)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
