"""What is put between dot products and softmax, windows, and latent attention."""

import math

import pytest
import torch
from torch.nn import functional as F
from transformers import DeepseekV3Config, Gemma2Config, MistralConfig
from transformers.masking_utils import create_sliding_window_causal_mask
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3Attention,
    DeepseekV3RotaryEmbedding,
)
from transformers.models.gemma2.modeling_gemma2 import Gemma2Attention, eager_attention_forward

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.core import causal_mask, scaled_dot_product_attention, window_mask
from tutor_lib.attention.latent import LatentSizes, MultiHeadLatentAttention
from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.attention.scored import ScoredAttention
from tutor_lib.embed.alibi import alibi_bias
from tutor_lib.embed.rope import RotaryEmbedding, rotate_interleaved

B, H, T, S, D, DV = 2, 6, 5, 7, 11, 13


def qkv(place, kv_heads: int = H) -> list[torch.Tensor]:
    shapes = [(B, H, T, D), (B, kv_heads, S, D), (B, kv_heads, S, DV)]
    kind = {"device": place.device, "dtype": place.dtype}
    return [torch.randn(shape, **kind).requires_grad_() for shape in shapes]


def gradients(out: torch.Tensor, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
    seed = torch.randn(out.shape, generator=torch.Generator().manual_seed(3)).to(out)
    return list(torch.autograd.grad(out, inputs, seed, retain_graph=True))


def equal(ours, theirs, place, inputs) -> None:
    """The outputs, and the gradients of the inputs."""
    for a, b in zip([ours, *gradients(ours, inputs)], [theirs, *gradients(theirs, inputs)],
                    strict=True):  # fmt: skip
        assert torch.allclose(a, b, rtol=place.tolerance, atol=place.tolerance)


@pytest.mark.parametrize("scale", [None, 1.0, 0.3])
@pytest.mark.parametrize("kind", ["none", "truth", "numbers"])
def test_scales_and_biases_are_pytorchs(place, scale, kind):
    inputs = qkv(place)
    masks = {
        "none": None,
        "truth": causal_mask(T, S, place.device),
        "numbers": alibi_bias(H, T, S).to(place.device, place.dtype),
    }
    attend = ScoredAttention(scale)
    theirs = F.scaled_dot_product_attention(*inputs, attn_mask=masks[kind], scale=scale)
    ours, weights = attend(*inputs, masks[kind])
    equal(ours, theirs, place, inputs)
    equal(attend.fused(*inputs, masks[kind]), theirs, place, inputs)
    assert torch.allclose(weights.sum(-1), torch.ones_like(weights.sum(-1)), atol=place.tolerance)


def test_without_extras_it_is_plain_attention(place):
    inputs, mask = qkv(place), causal_mask(T, S, place.device)
    ours, weights = ScoredAttention()(*inputs, mask)
    plain, plain_weights = scaled_dot_product_attention(*inputs, mask)
    assert torch.allclose(ours, plain, atol=place.tolerance)
    assert torch.allclose(weights, plain_weights, atol=place.tolerance)


def test_the_soft_cap_is_gemma_2s(place):
    layer = Gemma2Attention(Gemma2Config(num_attention_heads=H, num_key_value_heads=2), 0)
    (q, k, v), mask = qkv(place, kv_heads=2), causal_mask(T, S, place.device)
    hidden = torch.zeros(T, S, device=place.device).masked_fill(~mask, -torch.inf)
    theirs, _ = eager_attention_forward(layer, q, k, v, hidden, scaling=0.7, softcap=1.3)
    ours = ScoredAttention(0.7, 1.3).fused(q, k, v, mask)
    # transformers takes the softmax in float32.
    tolerance = max(place.tolerance, 1e-6)
    assert torch.allclose(ours, theirs.transpose(1, 2).to(ours), atol=tolerance)
    assert not torch.allclose(ours, ScoredAttention(0.7).fused(q, k, v, mask), atol=0.01)


@pytest.mark.parametrize("cap", [None, 1.3])
@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_the_fused_layer_is_the_readable_one(place, cap, kv_heads):
    layer = GroupedQueryAttention(66, H, kv_heads, attend=ScoredAttention(softcap=cap))
    layer = layer.to(place.device, place.dtype)
    x = torch.randn(B, S, 66, device=place.device, dtype=place.dtype, requires_grad=True)
    readable, _ = layer(x, causal_mask(S, device=place.device))
    equal(layer.fused(x, causal=True), readable, place, [x, *layer.parameters()])


@pytest.mark.parametrize("window", [1, 2, 5, 11, 17])
def test_windows_are_mistrals(window):
    config = MistralConfig(sliding_window=window, num_hidden_layers=1)
    config._attn_implementation = "eager"
    for length in (1, 7, 11):
        theirs = create_sliding_window_causal_mask(
            config, torch.zeros(1, length, 3), torch.ones(1, length, dtype=torch.bool),
            past_key_values=None, position_ids=torch.arange(length)[None],
        )  # fmt: skip
        assert torch.equal(window_mask(length, window), theirs[0, 0] == 0)
        for queries in range(1, length + 1):
            last = window_mask(length, window)[-queries:]
            assert torch.equal(window_mask(queries, window, length), last)


SIZES = LatentSizes(q_rank=11, kv_rank=7, nope_size=5, rope_size=4, value_size=3)


def latent_pair(place) -> tuple[MultiHeadLatentAttention, DeepseekV3Attention, object]:
    config = DeepseekV3Config(
        hidden_size=29, num_attention_heads=H, num_key_value_heads=H, q_lora_rank=11,
        kv_lora_rank=7, qk_nope_head_dim=5, qk_rope_head_dim=4, v_head_dim=3, head_dim=4,
        max_position_embeddings=31, rope_parameters={"rope_type": "default", "rope_theta": 97.0},
    )  # fmt: skip
    config._attn_implementation = "eager"
    theirs = DeepseekV3Attention(config, 0)
    ours = MultiHeadLatentAttention(
        29, H, SIZES, RotaryEmbedding(4, 31, 97.0, turn=rotate_interleaved)
    )
    names = {"q_a_proj": "q_proj.0", "q_a_layernorm": "q_proj.1", "q_b_proj": "q_proj.2",
             "kv_a_proj_with_mqa": "kv_down_proj", "kv_a_layernorm": "kv_norm",
             "kv_b_proj": "kv_up_proj", "o_proj": "o_proj"}  # fmt: skip
    weights = {n: torch.randn_like(p) / 3 for n, p in theirs.state_dict().items()}
    theirs.load_state_dict(weights)
    ours.load_state_dict({f"{names[n[:-7]]}.weight": w for n, w in weights.items()})
    angles = DeepseekV3RotaryEmbedding(config).to(place.device)
    kind = (place.device, place.dtype)
    return ours.to(*kind), theirs.to(*kind), angles


def test_latent_attention_is_deepseeks_however_it_is_computed(place):
    ours, theirs, angles = latent_pair(place)
    x = torch.randn(B, 13, 29, device=place.device, dtype=place.dtype, requires_grad=True)
    mask = causal_mask(13, device=place.device)
    hidden = torch.zeros(1, 1, 13, 13, device=place.device).masked_fill(~mask, -torch.inf)
    expected, weights = theirs(x, angles(x, torch.arange(13, device=x.device)[None]), hidden)
    tolerance = max(place.tolerance, 1e-5)  # angles and softmax are float32 in transformers
    for out in (ours(x, mask)[0], ours.fused(x, causal=True), ours.absorbed(x, mask)):
        assert torch.allclose(out, expected, atol=tolerance)
        for a, b in zip(gradients(out, [x]), gradients(expected, [x]), strict=True):
            assert torch.allclose(a, b, rtol=tolerance, atol=10 * tolerance)
    assert torch.allclose(ours(x, mask)[1], weights, atol=tolerance)


@torch.no_grad()
def test_the_latent_cache_holds_one_small_vector_a_token(place):
    ours, _, _ = latent_pair(place)
    x = torch.randn(B, 13, 29, device=place.device, dtype=place.dtype)
    cache = KVCache(B, 1, 13, 7, place.dtype, place.device, value_size=4)
    assert cache.keys.numel() + cache.values.numel() == B * 13 * (7 + 4)
    whole = ours(x, causal_mask(13, device=place.device))[0]
    start = 0
    for n in (5, 1, 1, 2, 4):
        mask = causal_mask(n, start + n, place.device)
        out = ours.fused(x[:, start : start + n], mask, cache)
        assert torch.allclose(out, whole[:, start : start + n], atol=max(place.tolerance, 1e-6))
        start += n


def test_bad_input_is_named(unchecked_shapes):
    q, k, v = torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2, 5), torch.zeros(1, 1, 2, 3)
    cases = [
        (lambda: ScoredAttention(scale=0.0), "scale must be positive and finite, got 0.0"),
        (lambda: ScoredAttention(softcap=math.inf), "softcap must be positive and finite"),
        (lambda: ScoredAttention()(q, k, v), "equal head size, got 3 and 5"),
        (lambda: window_mask(3, 0), "window must be at least 1, got 0"),
        (lambda: LatentSizes(None, 7, 5, 3, 3), "rope_size must be even, got 3"),
        (lambda: LatentSizes(0, 7, 5, 4, 3), "q_rank must be positive, got 0"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
