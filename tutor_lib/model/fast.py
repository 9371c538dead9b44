"""The same decoder, packed for generating: fewer operations, the same logits.

Decoding one token costs a small model more in calls than in arithmetic, and a large one a pass
over its weights. So matrices that read the same vector are stacked into one and lie as they are
read fastest, norm gains are multiplied into the matrix that follows, and RoPE is one complex
product.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.attention.scored import ScoredAttention
from tutor_lib.embed.rope import RotaryEmbedding, half_split_to_interleaved, rotate
from tutor_lib.ffn.dense import SwiGLUFeedForward
from tutor_lib.ffn.norm import RMSNorm
from tutor_lib.model.block import Block
from tutor_lib.model.decoder import Decoder, places


class FastDecoder:
    """Logits of a Llama-like `Decoder`, for `generate`; tested equal to it.

    It holds a packed copy of the weights, in their dtype and on their device: later changes to
    the model do not reach it. It keeps no gradients.

    Raises ValueError if the decoder is not Llama-like: RMSNorm, RoPE in halves, SwiGLU, one FFN
    a layer, no soft-caps.
    """

    def __init__(self, model: Decoder) -> None:
        _check(model)
        self.model, config = model, model.config
        self.layers = [_Layer(block) for block in model.blocks]
        self.embedding = model.embedding.weight.detach()
        tokens = model.embedding if config.tied else model.unembedding
        self.unembedding = _Matrix([tokens.weight], model.final_norm)
        self.turns = self.layers[0].turns

    @torch.inference_mode()
    def __call__(
        self,
        ids: Int[Tensor, "B T"],
        caches: list[KVCache] | None = None,
        padding: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`, as `Decoder.forward` gives them.

        Raises ValueError as it does.
        """
        (batch, n_new), start = ids.shape, caches[0].length if caches else 0
        self.model.check_length(start + n_new)
        if ids.device.type != "cpu":  # where the look-up would not raise
            self.model.check(ids, start + n_new)
        masks = self.model.masks(n_new, caches, padding)
        rows = slice(start, start + n_new) if padding is None else places(start, n_new, padding)
        turns = self.turns[rows].unsqueeze(-2)  # (T, 1, D/2), or (B, T, 1, D/2)
        x = self._look_up(ids, start + n_new)  # (B · T, C)
        for i, layer in enumerate(self.layers):
            x = layer(x, n_new, turns, masks[i], caches[i] if caches else None)
        return self.unembedding(_unit(x, self.layers[0].eps)).view(batch, n_new, -1)

    def _look_up(self, ids: Tensor, stop: int) -> Tensor:
        try:
            return self.embedding.index_select(0, ids.flatten())
        except IndexError:
            self.model.check(ids, stop)  # names the id
            raise

    def new_caches(self, batch: int, capacity: int | None = None) -> list[KVCache]:
        """An empty cache for each layer, as `Decoder.new_caches` makes them."""
        return self.model.new_caches(batch, capacity)


class _Layer:
    """One block, its matrices stacked."""

    def __init__(self, block: nn.Module) -> None:
        assert isinstance(block, Block)
        attention, ffn, norm = block.attention, block.ffn, block.attention_norm
        assert isinstance(attention, GroupedQueryAttention)
        assert isinstance(attention.attend, ScoredAttention)
        assert isinstance(attention.rotary, RotaryEmbedding)
        assert isinstance(ffn, SwiGLUFeedForward)
        assert isinstance(norm, RMSNorm)
        self.n_heads, self.n_kv_heads = attention.n_heads, attention.n_kv_heads
        self.head_size = attention.head_size
        self.eps = norm.weight.new_tensor(math.sqrt(norm.weight.numel() * norm.eps))
        self.scale = attention.attend.scale
        self.turns = _turns(attention.rotary)
        q, k, v = attention.q_proj, attention.k_proj, attention.v_proj
        self.qkv = _Matrix([self._neighbours(q.weight), self._neighbours(k.weight), v.weight], norm)
        self.qkv_bias = None
        if q.bias is not None:
            parts = (self._neighbours(q.bias), self._neighbours(k.bias), v.bias)
            self.qkv_bias = torch.cat(parts).detach()
        self.out = _Matrix([attention.o_proj.weight])
        self.gate_up = _Matrix([ffn.gate_proj.weight, ffn.up_proj.weight], block.ffn_norm)
        self.down = _Matrix([ffn.down_proj.weight])

    def _neighbours(self, rows: Tensor) -> Tensor:
        """RoPE's pairs side by side, as complex numbers lie: q·k does not see the order."""
        by_head = rows.unflatten(0, (-1, self.head_size)).movedim(1, -1)
        return half_split_to_interleaved(by_head).movedim(-1, 1).flatten(0, 1)

    def __call__(
        self, x: Tensor, n_new: int, turns: Tensor, mask: Tensor | None, cache: KVCache | None
    ) -> Tensor:
        q, k, v = self._heads(x, n_new, turns)
        if cache is not None:
            k, v = cache.update(k, v)
        x = self.out.added_to(x, self._attend(q, k, v, mask))
        gate, up = self.gate_up(_unit(x, self.eps)).chunk(2, dim=-1)
        return self.down.added_to(x, F.silu(gate) * up)

    def _heads(self, x: Tensor, n_new: int, turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """q (B, H, T, D), k and v (B, K, T, D), from x (B · T, C)."""
        qkv = self.qkv(_unit(x, self.eps))
        if self.qkv_bias is not None:
            qkv = qkv + self.qkv_bias
        qkv = qkv.view(-1, n_new, self.n_heads + 2 * self.n_kv_heads, self.head_size)
        qk, v = qkv.split_with_sizes((self.n_heads + self.n_kv_heads, self.n_kv_heads), dim=2)
        pairs = torch.view_as_complex(qk.float().view(*qk.shape[:-1], -1, 2))
        qk = torch.view_as_real(pairs * turns).flatten(-2).to(v.dtype)
        q, k = qk.transpose(1, 2).split_with_sizes((self.n_heads, self.n_kv_heads), dim=1)
        return q, k, v.transpose(1, 2)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """(B · T, H · D). A lone query's group of heads are as many queries of one K/V head."""
        batch, _, n_new, _ = q.shape
        if n_new == 1 and mask is None:
            q = q.reshape(batch, self.n_kv_heads, -1, self.head_size)
            mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
            return mixed.view(batch, -1)
        grouped = self.n_heads != self.n_kv_heads
        mixed = F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=mask is None, scale=self.scale, enable_gqa=grouped
        )
        return mixed.transpose(1, 2).reshape(batch * n_new, -1)


LARGE = 100_000  # numbers: a matrix that a core's own cache does not hold for long


class _Matrix:
    """x ↦ x Wᵀ; W is (out, in), the rows of all `weights`, times the gain and √C of a norm.

    A product with one row of x is a matter of reading W. PyTorch's matrix-vector product does it
    on one core, and slowly where W is not in its cache; as a batch of two halves it is read by
    two, three times as fast. A small W is read fastest column by column.
    """

    @torch.no_grad()
    def __init__(self, weights: list[Tensor], norm: nn.Module | None = None) -> None:
        stacked = torch.cat(weights)
        if norm is not None:
            assert isinstance(norm, RMSNorm)
            stacked = stacked * norm.weight * math.sqrt(stacked.size(-1))
        self.halved = stacked.device.type == "cpu" and stacked.numel() > LARGE
        self.halved &= len(stacked) % 2 == 0
        self.columns = stacked.T if self.halved else stacked.T.contiguous()
        self.halves = stacked.view(2, -1, stacked.size(1)) if self.halved else stacked

    def __call__(self, x: Tensor) -> Tensor:
        if not self.halved or len(x) > 1:
            return x @ self.columns
        return torch.bmm(self.halves, x.T.expand(2, -1, 1)).view(1, -1)

    def added_to(self, y: Tensor, x: Tensor) -> Tensor:
        """y + x Wᵀ."""
        if not self.halved or len(x) > 1:
            return torch.addmm(y, x, self.columns)
        return torch.baddbmm(y.view(2, -1, 1), self.halves, x.T.expand(2, -1, 1)).view(1, -1)


def _unit(x: Tensor, eps: Tensor) -> Tensor:
    """x / √(Σx² + Cε), `eps` = √(Cε): RMSNorm, apart from √C and the gain, which W has."""
    return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), eps)


def _turns(rotary: RotaryEmbedding) -> Tensor:
    """e^(iθt), the factor that turns a pair as a complex number."""
    assert rotary.turn is rotate
    length = torch.full_like(rotary.angles, rotary.scaling.attention_factor)
    return torch.polar(length, rotary.angles)


def _check(model: Decoder) -> None:
    """Raise ValueError, naming the part, if the decoder has one that Llama has not."""
    config, family = model.config, model.config.family
    wanted = {
        "norm": (family.norm, RMSNorm),
        "ffn": (family.ffn, SwiGLUFeedForward),
        "rotary": (family.rotary, True),
        "o_bias": (family.o_bias, False),
        "norms_after": (family.norms_after, False),
        "scaled_embedding": (family.scaled_embedding, False),
        "experts": (config.experts, None),
        "latent": (config.latent, None),
        "score_softcap": (config.score_softcap, None),
        "logit_softcap": (config.logit_softcap, None),
    }
    for name, (found, needed) in wanted.items():
        if found != needed:
            raise ValueError(f"FastDecoder packs Llama-like decoders; this one has {name}={found}")
    if config.rope_scaling is not None and config.rope_scaling.follows_length:
        raise ValueError(f"one table of angles is kept, not that of {config.rope_scaling}")
