"""The encoder-only transformer: every token sees the whole text, before it and after it."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.embed.positions import LearnedPositions
from tutor_lib.ffn.dense import GELUFeedForward
from tutor_lib.model.layers import (
    EncoderBlock,
    LayerParts,
    StackConfig,
    check_ids,
    check_length,
    check_mask,
    last_norm,
    look_at,
)

BERT = LayerParts(ffn=GELUFeedForward, attention_bias=True)


@dataclass(frozen=True, kw_only=True)
class EncoderConfig(StackConfig):
    """An encoder in numbers. Raises ValueError if they are not positive or do not fit."""

    n_segments: int = 2  # texts that one input may hold, one after another
    norm_eps: float = 1e-12
    parts: LayerParts = BERT

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_segments < 1:
            raise ValueError(f"n_segments must be positive, got {self.n_segments}")


class Encoder(nn.Module):
    """BERT: embed, norm, L blocks. Devlin et al. 2018, §3 (arXiv:1810.04805)."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = LearnedPositions(config.context_length, config.d_model)
        self.segments = nn.Embedding(config.n_segments, config.d_model)
        self.embedding_norm = config.parts.norm(config.d_model, config.norm_eps)
        self.blocks = nn.ModuleList(EncoderBlock(config) for _ in range(config.n_layers))
        self.last_norm = last_norm(config)
        start_small(self)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B T"] | None = None,
        segments: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """A vector for each token, made from all tokens of its row.

        `mask` is True at tokens and False at what fills a row up. `segments` says which text a
        token is of; all are of text 0 if None.

        Raises ValueError if an id is outside its table, the text empty or longer than the
        context, or a row without a token.
        """
        check_length(ids.size(1), self.config)
        if mask is not None:
            check_mask(mask, ids)
        x = self.embed(ids, torch.zeros_like(ids) if segments is None else segments)
        for block in self.blocks:
            x = block(x, None if mask is None else look_at(mask, ids.size(1)))
        return self.last_norm(x)

    def embed(
        self, ids: Int[Tensor, "B T"], segments: Int[Tensor, "B T"]
    ) -> Float[Tensor, "B T C"]:
        """norm(token + position + segment): fig. 2. Raises ValueError as `forward` does."""
        if segments.shape != ids.shape:
            shapes = f"{tuple(segments.shape)} do not fit ids of {tuple(ids.shape)}"
            raise ValueError(f"segments of {shapes}")
        check_ids(ids, self.config.vocab_size)
        check_ids(segments, self.config.n_segments, "segment id")
        return self.embedding_norm(self.positions(self.embedding(ids)) + self.segments(segments))


class MaskedLanguageModel(nn.Module):
    """An encoder that says which token belongs at each place: Devlin et al. 2018, §3.1, task 1.

    norm(GELU(W x + b)) Eᵀ + b_V, with the embedding E once more as the unembedding.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.norm = config.parts.norm(config.d_model, config.norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))
        start_small(self)

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B T"] | None = None,
        segments: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token at each place. Takes and raises what `Encoder` does."""
        x = self.encoder(ids, mask, segments)
        x = self.norm(functional.gelu(self.dense(x)))
        return x @ self.encoder.embedding.weight.T + self.bias


class Pooler(nn.Module):
    """One vector for a whole text: tanh(W x₀ + b), x₀ the first token's, [CLS].

    What the next-sentence task and classifiers read: Devlin et al. 2018, §3.1, task 2.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        start_small(self)

    def forward(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B C"]:
        """Read the first of what `Encoder` made."""
        return torch.tanh(self.dense(x[:, 0]))


@torch.no_grad()
def start_small(model: nn.Module) -> None:
    """Normal weights, σ = 0.02, cut off at 2σ, and no biases: Devlin et al.'s released code."""
    for layer in model.modules():
        if isinstance(layer, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(layer.weight, std=0.02, a=-0.04, b=0.04)
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            layer.bias.zero_()
