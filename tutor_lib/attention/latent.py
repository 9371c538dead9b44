"""Multi-head latent attention: the cache keeps one small vector a token for all heads."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.scored import Mask, ScoredAttention
from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.ffn.norm import RMSNorm


@dataclass(frozen=True)
class LatentSizes:
    """The sizes of multi-head latent attention, named as in DeepSeek-V2 (arXiv:2405.04434).

    Raises ValueError if one is not positive, or the rotary part is odd.
    """

    q_rank: int | None  # d_c': queries are compressed to it; None: they are not
    kv_rank: int  # d_c: keys and values are compressed to it
    nope_size: int  # d_h: the part of a head's query and key that knows no position
    rope_size: int  # d_h^R: the part that is rotated; its key serves all heads
    value_size: int  # of a head's values

    def __post_init__(self) -> None:
        for name, size in vars(self).items():
            if size is not None and size < 1:
                raise ValueError(f"{name} must be positive, got {size}")
        if self.rope_size % 2:
            raise ValueError(f"rope_size must be even, got {self.rope_size}")


class MultiHeadLatentAttention(nn.Module):
    """Keys and values of all heads grow from one latent: DeepSeek-V2, §2.1, eq. 9–19.

    c = norm(W_a x), (k_h, v_h) = W_b c, and one rotated key W_R x joins every head's keys. The
    cache keeps c and the rotated key alone: kv_rank + rope_size numbers a token and layer.
    """

    def __init__(
        self,
        d_model: int,
        n_heads: int,
        sizes: LatentSizes,
        rotary: RotaryEmbedding,
        scale: float | None = None,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        self.n_heads, self.sizes, self.rotary = n_heads, sizes, rotary
        self.attend = ScoredAttention(scale or (sizes.nope_size + sizes.rope_size) ** -0.5)
        q_width = n_heads * (sizes.nope_size + sizes.rope_size)
        if sizes.q_rank is None:
            self.q_proj: nn.Module = nn.Linear(d_model, q_width, bias=False)
        else:
            self.q_proj = nn.Sequential(
                nn.Linear(d_model, sizes.q_rank, bias=False),
                RMSNorm(sizes.q_rank, norm_eps),
                nn.Linear(sizes.q_rank, q_width, bias=False),
            )
        self.kv_down_proj = nn.Linear(d_model, sizes.kv_rank + sizes.rope_size, bias=False)
        self.kv_norm = RMSNorm(sizes.kv_rank, norm_eps)
        kv_width = n_heads * (sizes.nope_size + sizes.value_size)
        self.kv_up_proj = nn.Linear(sizes.kv_rank, kv_width, bias=False)
        self.o_proj = nn.Linear(n_heads * sizes.value_size, d_model, bias=False)

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
        mixed, weights = self.attend(*self.heads(x, cache, positions), mask)
        return self.o_proj(mixed.transpose(1, 2).flatten(-2)), weights

    def fused(
        self,
        x: Float[Tensor, "B T C"],
        mask: Mask | None = None,
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "B T C"]:
        """The same output without the weights.

        With few queries against a cache (decoding), the up-projection is not applied to S
        latents but to T queries and outputs: `absorbed`.
        """
        if cache is not None and x.size(1) < cache.length:
            return self.absorbed(x, mask, cache, positions)
        mixed = self.attend.fused(*self.heads(x, cache, positions), mask, causal)
        return self.o_proj(mixed.transpose(1, 2).flatten(-2))

    def absorbed(
        self,
        x: Float[Tensor, "B T C"],
        mask: Mask | None = None,
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """The same output, computed among latents: DeepSeek-V2, §2.1.2.

        q·(W_k c) = (W_kᵀ q)·c: the queries move to the latents' space, the weights mix latents,
        and W_v brings the mixture back, so that no key or value is ever made.
        """
        sizes = self.sizes
        q_nope, q_rope, latent, k_rope = self._compressed(x, cache, positions)
        up = self.kv_up_proj.weight.unflatten(0, (self.n_heads, -1))  # (H, nope + value, rank)
        up_k, up_v = up.split([sizes.nope_size, sizes.value_size], dim=1)
        # All heads see the same keys: they are as many queries of one head.
        q = torch.cat((q_nope @ up_k, q_rope), dim=-1).flatten(1, 2)[:, None]  # (B, 1, H · T, …)
        k = torch.cat((latent, k_rope), dim=-1)  # (B, 1, S, rank + rope)
        if mask is not None:
            mask = torch.cat([mask] * self.n_heads, dim=-2)
        mixed = self.attend.fused(q, k, latent, mask).view(*q_nope.shape[:3], -1)
        mixed = mixed @ up_v.transpose(-2, -1)  # (B, H, T, value)
        return self.o_proj(mixed.transpose(1, 2).flatten(-2))

    def _compressed(
        self, x: Tensor, cache: KVCache | None, positions: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Queries (B, H, T, nope) and (B, H, T, rope), latents (B, 1, S, rank) and their keys."""
        sizes, start = self.sizes, cache.length if cache else 0
        q = self.q_proj(x).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        q_nope, q_rope = q.split([sizes.nope_size, sizes.rope_size], dim=-1)
        latent, k_rope = self.kv_down_proj(x)[:, None].split(
            [sizes.kv_rank, sizes.rope_size], dim=-1
        )
        latent = self.kv_norm(latent)
        q_rope = self.rotary(q_rope, start, positions)
        k_rope = self.rotary(k_rope, start, positions)
        if cache is not None:
            latent, k_rope = cache.update(latent, k_rope)
        return q_nope, q_rope, latent, k_rope

    def heads(
        self,
        x: Float[Tensor, "B T C"],
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
    ) -> tuple[Float[Tensor, "B H T D"], Float[Tensor, "B H S D"], Float[Tensor, "B H S Dv"]]:
        """Each head's own queries, keys and values, with those of the cache's latents."""
        q_nope, q_rope, latent, k_rope = self._compressed(x, cache, positions)
        kv = self.kv_up_proj(latent[:, 0]).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
        k_nope, v = kv.split([self.sizes.nope_size, self.sizes.value_size], dim=-1)
        k = torch.cat((k_nope, k_rope.expand(-1, self.n_heads, -1, -1)), dim=-1)
        return torch.cat((q_nope, q_rope), dim=-1), k, v
