"""One layer of the decoder."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.latent import MultiHeadLatentAttention
from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.attention.scored import Mask, ScoredAttention
from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.ffn.dense import NoFeedForward
from tutor_lib.ffn.moe import Experts, MixtureOfExperts
from tutor_lib.ffn.routing import Router, SigmoidRouter, SoftmaxRouter
from tutor_lib.model.config import DecoderConfig, ExpertSizes


class Block(nn.Module):
    """Attention, then the FFN; each reads a normalised copy and adds to the residual stream.

    x ← x + attention(norm(x)), x ← x + FFN(norm(x)): the pre-norm order, Xiong et al. 2020
    (arXiv:2002.04745).
    """

    def __init__(
        self, config: DecoderConfig, rotary: RotaryEmbedding | None, layer: int = 0
    ) -> None:
        super().__init__()
        norm, sizes = config.family.norm, (config.d_model, config.norm_eps)
        self.attention_norm = norm(*sizes)
        self.attention = attention(config, rotary)
        # Without an FFN, its norm would be parameters that nothing trains.
        self.ffn_norm = nn.Identity() if config.family.ffn is NoFeedForward else norm(*sizes)
        self.ffn = ffn(config, layer)
        after = norm if config.family.norms_after else nn.Identity
        self.after_attention, self.after_ffn = after(*sizes), after(*sizes)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        mask: Mask | None = None,
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the residual stream, write back to it. Without a mask, nobody looks ahead."""
        causal = mask is None and x.size(1) > 1
        mixed = self.attention.fused(self.attention_norm(x), mask, cache, positions, causal)
        x = x + self.after_attention(mixed)
        return x + self.after_ffn(self.ffn(self.ffn_norm(x)))


def attention(
    config: DecoderConfig, rotary: RotaryEmbedding | None
) -> GroupedQueryAttention | MultiHeadLatentAttention:
    """The attention layer that `config` asks for."""
    if config.latent is not None:
        assert rotary is not None, "multi-head latent attention rotates a part of its heads"
        return MultiHeadLatentAttention(
            config.d_model, config.n_heads, config.latent, rotary, config.score_scale,
            config.norm_eps,
        )  # fmt: skip
    return GroupedQueryAttention(
        config.d_model,
        config.n_heads,
        config.n_kv_heads,
        rotary,
        config.head_size,
        ScoredAttention(config.score_scale, config.score_softcap),
        config.family.qkv_bias,
        config.family.o_bias,
    )


def ffn(config: DecoderConfig, layer: int) -> nn.Module:
    """The feed-forward network of this layer: dense, or a mixture of experts."""
    if not config.has_experts(layer):
        return config.family.ffn(config.d_model, config.d_ff)
    sizes = config.experts
    assert sizes is not None
    shared = None
    if sizes.n_shared:
        shared = config.family.ffn(config.d_model, sizes.n_shared * sizes.d_expert)
    experts = Experts(sizes.n_experts, config.d_model, sizes.d_expert)
    return MixtureOfExperts(router(config.d_model, sizes), experts, shared)


def router(d_model: int, sizes: ExpertSizes) -> Router:
    """What chooses each token's experts."""
    if not sizes.sigmoid:
        return SoftmaxRouter(d_model, sizes.n_experts, sizes.n_active)
    return SigmoidRouter(
        d_model, sizes.n_experts, sizes.n_active, sizes.n_groups, sizes.n_active_groups, sizes.scale
    )
