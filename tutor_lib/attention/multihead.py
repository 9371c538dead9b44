"""Many heads in one layer: grouped-query attention, and its two ends, MHA and MQA."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.core import scaled_dot_product_attention
from tutor_lib.embed.rope import RotaryEmbedding


def repeat_kv(x: Float[Tensor, "B K S D"], times: int) -> Float[Tensor, "B H S D"]:
    """Give each key/value head to `times` neighbouring query heads: H = K · times."""
    return x.repeat_interleave(times, dim=1)


class GroupedQueryAttention(nn.Module):
    """H query heads share K key/value heads: Ainslie et al. 2023 (arXiv:2305.13245).

    The cache shrinks by H/K. `rotary` rotates queries and keys by position; without it the
    layer cannot tell the order of its tokens, apart from what the mask gives away.

    Raises ValueError if H does not divide C or K does not divide H.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        rotary: RotaryEmbedding | None = None,
    ) -> None:
        super().__init__()
        if n_heads < 1 or d_model % n_heads:
            raise ValueError(f"n_heads={n_heads} does not divide d_model={d_model}")
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(f"n_kv_heads={n_kv_heads} does not divide n_heads={n_heads}")
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads
        self.head_size = d_model // n_heads
        self.rotary = rotary
        self.q_proj = nn.Linear(d_model, n_heads * self.head_size, bias=False)
        self.k_proj = nn.Linear(d_model, n_kv_heads * self.head_size, bias=False)
        self.v_proj = nn.Linear(d_model, n_kv_heads * self.head_size, bias=False)
        self.o_proj = nn.Linear(n_heads * self.head_size, d_model, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        mask: Bool[Tensor, "*#lead T S"] | None = None,
        cache: KVCache | None = None,
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B H T S"]]:
        """Attend from `x` to itself, and to what `cache` holds of the past.

        Returns the output and every head's weights.
        """
        q = self._split(self.q_proj(x))  # (B, H, T, D)
        k = self._split(self.k_proj(x))  # (B, K, T, D)
        v = self._split(self.v_proj(x))  # (B, K, T, D)
        start = cache.length if cache else 0
        if self.rotary is not None:
            q, k = self.rotary(q, start), self.rotary(k, start)
        if cache is not None:
            k, v = cache.update(k, v)  # (B, K, S, D)
        group = self.n_heads // self.n_kv_heads
        mixed, weights = scaled_dot_product_attention(
            q, repeat_kv(k, group), repeat_kv(v, group), mask
        )
        return self.o_proj(mixed.transpose(1, 2).flatten(-2)), weights

    def _split(self, x: Float[Tensor, "B T _"]) -> Float[Tensor, "B heads T D"]:
        return x.unflatten(-1, (-1, self.head_size)).transpose(1, 2)


class MultiHeadAttention(GroupedQueryAttention):
    """Every query head has keys and values of its own, K = H: Vaswani et al. 2017, §3.2.2."""

    def __init__(self, d_model: int, n_heads: int, rotary: RotaryEmbedding | None = None) -> None:
        super().__init__(d_model, n_heads, n_heads, rotary)


class MultiQueryAttention(GroupedQueryAttention):
    """All query heads share one key/value head, K = 1: Shazeer 2019 (arXiv:1911.02150)."""

    def __init__(self, d_model: int, n_heads: int, rotary: RotaryEmbedding | None = None) -> None:
        super().__init__(d_model, n_heads, 1, rotary)
