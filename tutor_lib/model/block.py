"""One layer of the decoder."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.ffn.dense import SwiGLUFeedForward
from tutor_lib.ffn.norm import RMSNorm
from tutor_lib.model.config import DecoderConfig


class Block(nn.Module):
    """Attention, then the FFN; each reads a normalised copy and adds to the residual stream.

    x ← x + attention(norm(x)), x ← x + ffn(norm(x)): the pre-norm order, Xiong et al. 2020
    (arXiv:2002.04745).
    """

    def __init__(self, config: DecoderConfig, rotary: RotaryEmbedding) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.d_model, config.norm_eps)
        self.attention = GroupedQueryAttention(
            config.d_model, config.n_heads, config.n_kv_heads, rotary
        )
        self.ffn_norm = RMSNorm(config.d_model, config.norm_eps)
        self.ffn = SwiGLUFeedForward(config.d_model, config.d_ff)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        mask: Bool[Tensor, "*#lead T S"],
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the residual stream, write back to it."""
        mixed, _ = self.attention(self.attention_norm(x), mask, cache)
        x = x + mixed
        return x + self.ffn(self.ffn_norm(x))
