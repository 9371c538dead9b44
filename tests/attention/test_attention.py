"""Attention against PyTorch's own, forward and backward."""

import pytest
import torch
from torch.nn import functional as F

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.core import causal_mask, scaled_dot_product_attention
from tutor_lib.attention.multihead import (
    GroupedQueryAttention,
    MultiHeadAttention,
    MultiQueryAttention,
)
from tutor_lib.embed.rope import RotaryEmbedding

B, H, T, S, D, DV = 2, 3, 5, 7, 11, 13


def qkv(requires_grad: bool = False) -> tuple[torch.Tensor, ...]:
    shapes = [(B, H, T, D), (B, H, S, D), (B, H, S, DV)]
    return tuple(torch.randn(s, dtype=torch.double, requires_grad=requires_grad) for s in shapes)


def masks() -> dict[str, torch.Tensor | None]:
    random = torch.rand(B, 1, T, S) < 0.5
    random[..., 0] = True  # a row that may look nowhere has no softmax
    return {"none": None, "causal": causal_mask(T, S), "random": random}


@pytest.mark.parametrize("name", ["none", "causal", "random"])
def test_attention_equals_pytorchs_with_gradients(name):
    mask = masks()[name]
    ours, theirs = qkv(requires_grad=True), None
    theirs = tuple(x.detach().clone().requires_grad_() for x in ours)
    out, weights = scaled_dot_product_attention(*ours, mask)
    expected = F.scaled_dot_product_attention(*theirs, attn_mask=mask)
    assert torch.allclose(out, expected, atol=1e-12)
    assert torch.allclose(weights.sum(-1), torch.ones(B, H, T, dtype=torch.double))
    seed = torch.randn_like(out)
    out.backward(seed)
    expected.backward(seed)
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a.grad, b.grad, atol=1e-12)


def test_causal_mask_is_a_literal_loop():
    for queries, keys in [(1, 1), (5, 5), (3, 7), (1, 7), (0, 3)]:
        mask = causal_mask(queries, keys)
        assert mask.shape == (queries, keys)
        for i in range(queries):
            for j in range(keys):
                assert mask[i, j] == (j <= keys - queries + i)


@pytest.mark.parametrize("rope", [False, True])
def test_multi_head_attention_equals_pytorchs_module(rope):
    """With RoPE the peer gets no position, so only the rope-free module is its equal."""
    heads, width = 3, 42
    rotary = RotaryEmbedding(width // heads, S) if rope else None
    ours = MultiHeadAttention(width, heads, rotary)
    theirs = torch.nn.MultiheadAttention(width, heads, bias=False, batch_first=True)
    theirs.in_proj_weight.data = torch.cat(
        [p.weight for p in (ours.q_proj, ours.k_proj, ours.v_proj)]
    )
    theirs.out_proj.weight.data = ours.o_proj.weight.data
    x, mask = torch.randn(B, S, width), causal_mask(S)
    out, weights = ours(x, mask)
    expected, expected_weights = theirs(x, x, x, attn_mask=~mask, average_attn_weights=False)
    assert torch.allclose(out, expected, atol=1e-5) is not rope
    assert torch.allclose(weights, expected_weights, atol=1e-6) is not rope


def test_grouped_queries_share_keys_and_values():
    """K of H heads: PyTorch's own grouped attention on the same projections."""
    heads, kv_heads, size = 6, 2, 7
    layer = GroupedQueryAttention(heads * size, heads, kv_heads)
    x, mask = torch.randn(B, S, heads * size), causal_mask(S)
    q, k, v = (
        p(x).view(B, S, -1, size).transpose(1, 2)
        for p in (layer.q_proj, layer.k_proj, layer.v_proj)
    )
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)
    expected = layer.o_proj(mixed.transpose(1, 2).reshape(B, S, -1))
    assert torch.allclose(layer(x, mask)[0], expected, atol=1e-5)


def test_the_two_ends_of_grouping():
    assert MultiHeadAttention(42, 3).k_proj.weight.shape == (42, 42)
    assert MultiQueryAttention(42, 3).k_proj.weight.shape == (14, 42)


def test_the_cache_hands_back_all_it_was_given_without_a_copy():
    cache, parts = KVCache(B, H, 11, D), torch.randn(3, 2, B, H, 3, D)
    for k, v in parts:
        keys, values = cache.update(k, v)
    assert torch.equal(keys, torch.cat([k for k, _ in parts], dim=2))
    assert torch.equal(values, torch.cat([v for _, v in parts], dim=2))
    assert cache.length == 9
    assert keys.untyped_storage().data_ptr() == cache.keys.untyped_storage().data_ptr()


def test_bad_input_is_named(unchecked_shapes):
    q, k, v = qkv()
    with pytest.raises(ValueError, match="equal head size, got 11 and 10"):
        scaled_dot_product_attention(q, k[..., :10], v)
    with pytest.raises(ValueError, match="got 5 and 3"):
        causal_mask(5, 3)
    with pytest.raises(ValueError, match="n_heads=5 does not divide d_model=42"):
        MultiHeadAttention(42, 5)
    with pytest.raises(ValueError, match="n_kv_heads=4 does not divide n_heads=6"):
        GroupedQueryAttention(42, 6, 4)
    with pytest.raises(ValueError, match="must be positive"):
        KVCache(1, 1, 0, 1)
    cache = KVCache(1, 2, 3, 5)
    with pytest.raises(ValueError, match="holds 3 positions, 4 are needed"):
        cache.update(torch.zeros(1, 2, 4, 5), torch.zeros(1, 2, 4, 5))
    with pytest.raises(ValueError, match=r"\(1, 3, 2, 5\) do not fit"):
        cache.update(torch.zeros(1, 3, 2, 5), torch.zeros(1, 3, 2, 5))
    assert cache.length == 0
