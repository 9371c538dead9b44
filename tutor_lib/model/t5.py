"""T5: an encoder-decoder that knows positions as distances alone."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tutor_lib.attention.core import causal_mask
from tutor_lib.attention.scored import Mask
from tutor_lib.embed.relative import CausalRelativeBias, RelativeBias, check_buckets
from tutor_lib.ffn.dense import GeGLUFeedForward, ReLUFeedForward
from tutor_lib.ffn.norm import RMSNorm
from tutor_lib.model.layers import LayerParts, PreNorm, StackConfig, look_at
from tutor_lib.model.seq2seq import Seq2Seq

T5_V1_0 = LayerParts(PreNorm, RMSNorm, partial(ReLUFeedForward, bias=False), score_scale=1.0)
T5_V1_1 = LayerParts(PreNorm, RMSNorm, GeGLUFeedForward, score_scale=1.0)


@dataclass(frozen=True, kw_only=True)
class T5Config(StackConfig):
    """A T5 in numbers. Version 1.1 has the parts `T5_V1_1`, and is not `tied`.

    Its positions know no end: `context_length` may change without the weights.

    Raises ValueError if they are not positive or do not fit.
    """

    norm_eps: float = 1e-6
    parts: LayerParts = T5_V1_0
    tied: bool = True  # the unembedding is the embedding's transpose, times C^(-1/2)
    n_buckets: int = 32
    max_distance: int = 128  # from here on all distances are alike

    def __post_init__(self) -> None:
        super().__post_init__()
        check_buckets(self.n_buckets, self.max_distance)


class T5(Seq2Seq):
    """Pre-norm layers, RMSNorm, no biases, and a bias of the scores for each head and distance.

    Raffel et al. 2019, §2.1 (arXiv:1910.10683); version 1.1: Shazeer 2020 (arXiv:2002.05202).
    """

    def __init__(self, config: T5Config) -> None:
        super().__init__(config)
        self.tied = config.tied
        sizes = (config.n_heads, config.n_buckets, config.max_distance)
        self.encoder_bias, self.decoder_bias = RelativeBias(*sizes), CausalRelativeBias(*sizes)
        if not config.tied:
            self.unembedding = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._initialise()

    def encoder_mask(self, length: int, mask: Bool[Tensor, "B S"] | None) -> Mask:
        """The bias by distance, one for all layers, and -∞ for what fills a row up."""
        bias = self.encoder_bias(length)  # (H, S, S)
        return bias if mask is None else hide(bias, look_at(mask, length))

    def decoder_mask(self, n_new: int, length: int) -> Mask:
        """The bias by distance, one for all layers, and -∞ for what lies ahead."""
        bias = self.decoder_bias(n_new, length)  # (H, T, S)
        return hide(bias, causal_mask(n_new, length, bias.device))

    def unembed(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Compare each vector with every token's embedding, or unembedding."""
        if self.tied:
            return super().unembed(x * self.config.d_model**-0.5)
        return self.unembedding(x)

    @torch.no_grad()
    def _initialise(self) -> None:
        """σ = 1/√(numbers summed), but 1 for embeddings; W_q takes on the 1/√D of the scores."""
        config = self.config
        nn.init.normal_(self.embedding.weight)
        for bias in (self.encoder_bias, self.decoder_bias):
            nn.init.normal_(bias.table.weight, std=config.d_model**-0.5)
        for name, layer in self.named_modules():
            if isinstance(layer, nn.Linear):
                summed = layer.in_features * (config.head_size if name.endswith("q_proj") else 1)
                nn.init.normal_(layer.weight, std=summed**-0.5)


def hide(
    bias: Float[Tensor, "H T S"], mask: Bool[Tensor, "*lead T S"]
) -> Float[Tensor, "*heads T S"]:
    """The bias where `mask` is True, -∞ where it is not."""
    return bias.masked_fill(~mask, float("-inf"))
