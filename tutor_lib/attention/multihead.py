"""Many heads in one layer: grouped-query attention and its two ends, and cross-attention."""

from jaxtyping import Float, Int
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.core import scaled_dot_product_attention
from tutor_lib.attention.scored import Mask, ScoredAttention
from tutor_lib.embed.rope import RotaryEmbedding


def repeat_kv(x: Float[Tensor, "B K S D"], times: int) -> Float[Tensor, "B H S D"]:
    """Give each key/value head to `times` neighbouring query heads: H = K · times."""
    return x.repeat_interleave(times, dim=1)


class GroupedQueryAttention(nn.Module):
    """H query heads share K key/value heads: Ainslie et al. 2023 (arXiv:2305.13245).

    The cache shrinks by H/K. `rotary` rotates queries and keys by position; without it the
    layer cannot tell the order of its tokens, apart from what the mask gives away. `attend`
    may be a `ScoredAttention` instead. The head size is C/H if `head_size` is None.

    Raises ValueError if H does not divide C or K does not divide H.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        n_kv_heads: int,
        rotary: RotaryEmbedding | None = None,
        head_size: int | None = None,
        attend: ScoredAttention | None = None,
        qkv_bias: bool = False,
        o_bias: bool = False,
    ) -> None:
        super().__init__()
        if n_heads < 1 or (head_size is None and d_model % n_heads):
            raise ValueError(f"n_heads={n_heads} does not divide d_model={d_model}")
        if n_kv_heads < 1 or n_heads % n_kv_heads:
            raise ValueError(f"n_kv_heads={n_kv_heads} does not divide n_heads={n_heads}")
        self.n_heads, self.n_kv_heads = n_heads, n_kv_heads
        self.head_size = d_model // n_heads if head_size is None else head_size
        self.rotary = rotary
        self.attend = attend or scaled_dot_product_attention
        self.q_proj = nn.Linear(d_model, n_heads * self.head_size, bias=qkv_bias)
        self.k_proj = nn.Linear(d_model, n_kv_heads * self.head_size, bias=qkv_bias)
        self.v_proj = nn.Linear(d_model, n_kv_heads * self.head_size, bias=qkv_bias)
        self.o_proj = nn.Linear(n_heads * self.head_size, d_model, bias=o_bias)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        mask: Mask | None = None,
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B H T S"]]:
        """Attend from `x` to itself, and to what `cache` holds of the past.

        Returns the output and every head's weights.
        """
        q, k, v = self.heads(x, cache, positions)  # (B, H, T, D), then twice (B, K, S, D)
        group = self.n_heads // self.n_kv_heads
        mixed, weights = self.attend(q, repeat_kv(k, group), repeat_kv(v, group), mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(-2)), weights

    def fused(
        self,
        x: Float[Tensor, "B T C"],
        mask: Mask | None = None,
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "B T C"]:
        """The same output without the weights, by PyTorch's fused kernel.

        `causal` (with T = S) stands for a causal mask.
        """
        q, k, v = self.heads(x, cache, positions)
        attend = self.attend if isinstance(self.attend, ScoredAttention) else ScoredAttention()
        mixed = attend.fused(q, k, v, mask, causal)
        return self.o_proj(mixed.transpose(1, 2).flatten(-2))

    def heads(
        self,
        x: Float[Tensor, "B T C"],
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]:
        """Each head's queries, keys and values: projected, rotated, with the cache's past."""
        q = self._split(self.q_proj(x))  # (B, H, T, D)
        k = self._split(self.k_proj(x))  # (B, K, T, D)
        v = self._split(self.v_proj(x))  # (B, K, T, D)
        if self.rotary is not None:
            start = cache.length if cache else 0
            q, k = self.rotary(q, start, positions), self.rotary(k, start, positions)
        return (q, k, v) if cache is None else (q, *cache.update(k, v))

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


class CrossAttention(GroupedQueryAttention):
    """Queries from one text, keys and values from another: Vaswani et al. 2017, §3.2.3."""

    def remember(
        self, source: Float[Tensor, "B S C"]
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]:
        """The keys and values of `source`, computed once for all tokens that will look at it."""
        return self._split(self.k_proj(source)), self._split(self.v_proj(source))

    def forward(  # type: ignore[override]
        self,
        x: Float[Tensor, "B T C"],
        memory: tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]],
        mask: Mask | None = None,
    ) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B H T S"]]:
        """Attend from `x` to what `remember` made. Returns the output and the weights."""
        k, v = (repeat_kv(y, self.n_heads // self.n_kv_heads) for y in memory)
        mixed, weights = self.attend(self._split(self.q_proj(x)), k, v, mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(-2)), weights

    def fused(  # type: ignore[override]
        self,
        x: Float[Tensor, "B T C"],
        memory: tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]],
        mask: Mask | None = None,
    ) -> Float[Tensor, "B T C"]:
        """The same output without the weights, by PyTorch's fused kernel."""
        attend = self.attend if isinstance(self.attend, ScoredAttention) else ScoredAttention()
        mixed = attend.fused(self._split(self.q_proj(x)), *memory, mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(-2))
