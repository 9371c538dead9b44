"""The same decoder, for training: the same gradients, by hand and in fewer passes over memory.

Autograd keeps every step's result and walks back through each. Here norm, projections and
rotation are one step with one backward pass, and so are norm, FFN and addition: what is cheap to
find again is not kept, gradients are written where they are needed, and stacked matrices read
their input once.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.attention.scored import ScoredAttention
from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.ffn.dense import SwiGLUFeedForward
from tutor_lib.model.block import Block
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.fast import check_llama_like


class TrainingDecoder(nn.Module):
    """Logits of a Llama-like `Decoder`, whose own parameters get the gradients.

    `train(TrainingDecoder(model), …)` trains `model`. It reads the weights of each layer itself,
    so hooks on the layers, and layers put in their place, have no say.

    Raises ValueError if the decoder is not Llama-like: RMSNorm, RoPE in halves, SwiGLU, one FFN
    a layer, no biases, windows or soft-caps.
    """

    def __init__(self, model: Decoder) -> None:
        super().__init__()
        check_llama_like(model)
        if model.config.family.qkv_bias or model.config.windows != (None,):
            raise ValueError("TrainingDecoder knows no biases and no windows")
        self.model = model

    def forward(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`.

        Raises ValueError if an id is outside the vocabulary or the text outgrows the context.
        """
        model, (batch, length) = self.model, ids.shape
        model.check(ids, length)
        x = model.embed(ids).flatten(0, 1)  # (B · T, C)
        for block in model.blocks:
            assert isinstance(block, Block)
            norm, layer, ffn = block.attention_norm, block.attention, block.ffn
            assert isinstance(layer, GroupedQueryAttention)
            assert isinstance(ffn, SwiGLUFeedForward)
            q, k, v = _Heads.apply(
                x, norm.weight, layer.q_proj.weight, layer.k_proj.weight, layer.v_proj.weight,
                _table(layer, length), batch, layer.head_size, norm.eps,
            )  # fmt: skip
            mixed = ScoredAttention(scale=1.0).fused(q, k, v, causal=True)
            x = torch.addmm(x, mixed.transpose(1, 2).reshape(len(x), -1), layer.o_proj.weight.T)
            x = _FeedForwardBranch.apply(
                x, block.ffn_norm.weight, ffn.gate_proj.weight, ffn.up_proj.weight,
                ffn.down_proj.weight, block.ffn_norm.eps,
            )  # fmt: skip
        return model.unembed(x.view(batch, length, -1))


Table = tuple[Tensor, Tensor, Tensor, Tensor]  # cos and sin for queries, cos and sin for keys


def _table(layer: GroupedQueryAttention, length: int) -> Table:
    """(T, D/2) each. The queries' carry the scale of the scores, which then costs nothing."""
    assert isinstance(layer.rotary, RotaryEmbedding)
    assert isinstance(layer.attend, ScoredAttention)
    dtype = layer.q_proj.weight.dtype
    angles, factor = layer.rotary.angles[:length], layer.rotary.scaling.attention_factor
    scale = layer.attend.scale or layer.head_size**-0.5
    cos, sin = (factor * turned for turned in (angles.cos(), angles.sin()))
    return (
        (scale * cos).to(dtype), (scale * sin).to(dtype), cos.to(dtype), sin.to(dtype)
    )  # fmt: skip


class _Heads(torch.autograd.Function):
    """Queries (B, H, T, D), keys and values (B, K, T, D) of norm(x), rotated. x is (B · T, C)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, wq: Tensor, wk: Tensor, wv: Tensor, table: Table,
        batch: int, size: int, eps: float,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        rows, weight = [len(w) // size for w in (wq, wk, wv)], torch.cat((wq, wk, wv))
        normed, inverse = _norm(x, gain, eps)
        qkv = (normed @ weight.T).view(batch, -1, sum(rows), size)
        ctx.save_for_backward(x, gain, inverse, normed, weight)
        ctx.table, ctx.rows = table, rows
        q, k, v = (part.transpose(1, 2) for part in qkv.split(rows, dim=2))
        return _turned(q, *table[:2], q.clone()), _turned(k, *table[2:], k.clone()), v

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, inverse, normed, weight = ctx.saved_tensors
        (cos_q, sin_q, cos_k, sin_k), (batch, _, length, size) = ctx.table, grads[0].shape
        d_qkv = x.new_empty(batch, length, sum(ctx.rows), size)
        d_q, d_k, d_v = (part.transpose(1, 2) for part in d_qkv.split(ctx.rows, dim=2))
        _turned(grads[0], cos_q, -sin_q, d_q)
        _turned(grads[1], cos_k, -sin_k, d_k)
        d_v.copy_(grads[2])
        flat = d_qkv.view(len(x), -1)
        d_weights = (flat.T @ normed).split([n * size for n in ctx.rows])
        dx, d_gain = _norm_backward(flat @ weight, x, gain, inverse)
        return dx, d_gain, *d_weights, None, None, None, None


class _FeedForwardBranch(torch.autograd.Function):
    """x + W_down (silu(W_gate n) ⊙ W_up n), n = norm(x). x is (B · T, C)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gain: Tensor, w_gate: Tensor, w_up: Tensor, w_down: Tensor, eps: float
    ) -> Tensor:
        weight = torch.cat((w_gate, w_up))
        normed, inverse = _norm(x, gain, eps)
        both = normed @ weight.T
        gate, up = both.chunk(2, dim=-1)
        bent = F.silu(gate).mul_(up)
        ctx.save_for_backward(x, gain, inverse, normed, weight, w_down, both, bent)
        return torch.addmm(x, bent, w_down.T)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (dy,) = grads
        x, gain, inverse, normed, weight, w_down, both, bent = ctx.saved_tensors
        gate, up = both.chunk(2, dim=-1)
        d_down, d_bent = dy.T @ bent, dy @ w_down
        d_both = torch.empty_like(both)
        d_gate, d_up = d_both.chunk(2, dim=-1)
        torch.mul(d_bent, F.silu(gate), out=d_up)
        torch.ops.aten.silu_backward.grad_input(d_bent.mul_(up), gate, grad_input=d_gate)
        d_w_gate, d_w_up = (d_both.T @ normed).chunk(2)
        dx, d_gain = _norm_backward(d_both @ weight, x, gain, inverse)
        return dx.add_(dy), d_gain, d_w_gate, d_w_up, d_down, None


def _norm(x: Tensor, gain: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """RMSNorm of each row, and 1/√(mean(x²) + ε) as (N, 1)."""
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = torch.hypot(length / math.sqrt(x.size(-1)), length.new_tensor(math.sqrt(eps)))
    inverse = inverse.reciprocal()
    return (x * inverse).mul_(gain), inverse


def _norm_backward(dy: Tensor, x: Tensor, gain: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
    """dx = r (g ∘ dy) - x r³/C Σ g ∘ dy ∘ x and dg = Σ over rows of r x ∘ dy."""
    product = dy * x
    along = (product @ gain)[:, None] * inverse**3 / -x.size(-1)
    dx = (dy * gain).mul_(inverse).addcmul_(x, along)
    return dx, inverse[:, 0] @ product


def _turned(x: Tensor, cos: Tensor, sin: Tensor, out: Tensor) -> Tensor:
    """`rotate`, written into `out`. With -sin it turns gradients back."""
    (left, right), (first, second) = x.chunk(2, dim=-1), out.chunk(2, dim=-1)
    torch.mul(left, cos, out=first)
    first.addcmul_(right, sin, value=-1)
    torch.mul(right, cos, out=second)
    second.addcmul_(left, sin)
    return out
