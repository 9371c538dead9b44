"""RoPE's layouts and scalings, and ALiBi, against `transformers`."""

import pytest
import torch
from transformers import DeepseekV3Config, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.bloom.modeling_bloom import build_alibi_tensor
from transformers.models.deepseek_v3.modeling_deepseek_v3 import (
    DeepseekV3RotaryEmbedding,
    apply_rotary_pos_emb_interleave,
)
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from tutor_lib.attention.core import causal_mask
from tutor_lib.embed.alibi import alibi_bias, alibi_slopes
from tutor_lib.embed.rope import (
    RotaryEmbedding,
    half_split_to_interleaved,
    interleaved_to_half_split,
    rope_angles,
    rotate,
    rotate_interleaved,
)
from tutor_lib.embed.rope_scaling import (
    DynamicNTKScaling,
    LinearScaling,
    Llama3Scaling,
    RopeScaling,
    YaRNScaling,
    yarn_magnitude,
)

B, H, T, D = 2, 3, 7, 22
CONTEXT = 1009

SCALINGS = {
    "default": (RopeScaling(), {}),
    "linear": (LinearScaling(3.0), {"factor": 3.0}),
    "dynamic": (DynamicNTKScaling(5.0, 211), {"factor": 5.0}),
    "yarn": (YaRNScaling(7.0, 211), {"factor": 7.0, "original_max_position_embeddings": 211}),
    "yarn, all given": (
        YaRNScaling(7.0, 211, fast=13.0, slow=2.0, magnitude=1.3),
        {"factor": 7.0, "original_max_position_embeddings": 211, "beta_fast": 13.0,
         "beta_slow": 2.0, "attention_factor": 1.3},
    ),
    "llama3": (
        Llama3Scaling(8.0, 211, fast=4.0, slow=1.0),
        {"factor": 8.0, "original_max_position_embeddings": 211, "high_freq_factor": 4.0,
         "low_freq_factor": 1.0},
    ),
}  # fmt: skip


def their_config(name: str, base: float) -> LlamaConfig:
    kind = name.split(",")[0]
    return LlamaConfig(
        hidden_size=H * D,
        num_attention_heads=H,
        head_dim=D,
        max_position_embeddings=211 if kind == "dynamic" else CONTEXT,
        rope_parameters={"rope_type": kind, "rope_theta": base, **SCALINGS[name][1]},
    )


@pytest.mark.parametrize("base", [10_000.0, 500_000.0, 97.0])
@pytest.mark.parametrize("name", [name for name in SCALINGS if name != "default"])
def test_scaled_frequencies_are_transformers(name, base):
    scaling, config = SCALINGS[name][0], their_config(name, base)
    plain = rope_angles(2, D, base)[1]
    for length in (101, 211, 797) if name == "dynamic" else (CONTEXT,):
        theirs, factor = ROPE_INIT_FUNCTIONS[name.split(",")[0]](config, seq_len=length)
        assert torch.allclose(scaling.frequencies(plain, base, length), theirs, rtol=1e-5)
        assert scaling.attention_factor == pytest.approx(factor)


@pytest.mark.parametrize("name", SCALINGS)
def test_any_positions_turn_like_llamas(name, place):
    """Each row has positions of its own, in no order, the last ones beyond the trained context."""
    positions = torch.stack([torch.randperm(CONTEXT)[:T], torch.arange(T)]).to(place.device)
    positions[0, 0] = CONTEXT - 1
    x = torch.randn(B, H, T, D, device=place.device, dtype=place.dtype)
    theirs = LlamaRotaryEmbedding(their_config(name, 97.0)).to(place.device)
    expected, _ = apply_rotary_pos_emb(x, x, *theirs(x, positions))
    ours = RotaryEmbedding(D, CONTEXT, 97.0, SCALINGS[name][0]).to(place.device, place.dtype)
    # Angles of up to 1,000 radians are float32 in both: their last bit is 6e-5, in any dtype.
    assert torch.allclose(ours(x, positions=positions), expected, atol=max(place.tolerance, 5e-4))


def test_consecutive_positions_need_no_list():
    rotary, x = RotaryEmbedding(D, 53), torch.randn(B, H, T, D)
    assert torch.equal(rotary(x, 11), rotary(x, positions=torch.arange(11, 11 + T)))


def test_the_interleaved_layout_turns_like_deepseeks():
    config = DeepseekV3Config(
        head_dim=D, max_position_embeddings=53, qk_rope_head_dim=D,
        rope_parameters={"rope_type": "default", "rope_theta": 97.0},
    )  # fmt: skip
    x, positions = torch.randn(B, H, T, D), torch.arange(5, 5 + T)[None]
    cos, sin = DeepseekV3RotaryEmbedding(config)(x, positions)
    theirs, _ = apply_rotary_pos_emb_interleave(x, x, cos, sin)
    ours = RotaryEmbedding(D, 53, 97.0, turn=rotate_interleaved)(x, start=5)
    # Theirs comes back half-split: the order in which q·k adds up does not matter.
    assert torch.allclose(interleaved_to_half_split(ours), theirs, atol=1e-5)


def test_one_layout_becomes_the_other():
    x, angles = torch.randn(B, T, D), rope_angles(T, D, 97.0)
    assert torch.equal(half_split_to_interleaved(interleaved_to_half_split(x)), x)
    turned = interleaved_to_half_split(rotate_interleaved(x, angles))
    assert torch.equal(turned, rotate(interleaved_to_half_split(x), angles))
    assert not torch.allclose(rotate(x, angles), rotate_interleaved(x, angles), atol=0.1)


def test_angles_stay_float32_in_a_bfloat16_model():
    """In bfloat16, positions 256 and 257 had one angle, and the model lost the word order."""
    rotary = RotaryEmbedding(D, CONTEXT).to(torch.bfloat16)
    assert rotary.angles.dtype == torch.float32
    x = torch.randn(1, 1, 1, D, dtype=torch.bfloat16)
    assert rotary(x, 256).dtype == torch.bfloat16
    assert not torch.equal(rotary(x, 256), rotary(x, 257))


@pytest.mark.parametrize("n_heads", [1, 2, 3, 7, 8, 13, 32])
def test_alibi_is_blooms(n_heads):
    """Bloom adds m·j instead of -m·(i - j): the rows differ by m·i, which softmax ignores."""
    theirs = build_alibi_tensor(torch.ones(1, T), n_heads, torch.float32)
    scores, mask = torch.randn(n_heads, T, T), causal_mask(T)
    ours = (scores + alibi_bias(n_heads, T)).masked_fill(~mask, -torch.inf).softmax(-1)
    expected = (scores + theirs).masked_fill(~mask, -torch.inf).softmax(-1)
    assert torch.allclose(ours, expected, atol=1e-6)
    assert torch.allclose(-alibi_bias(n_heads, 1, 2)[:, 0, 0], alibi_slopes(n_heads))
    assert torch.equal(alibi_bias(n_heads, 3, T), alibi_bias(n_heads, T)[:, -3:])


def test_bad_input_is_named():
    cases = [
        (lambda: LinearScaling(0.5), "factor must be at least 1 and finite, got 0.5"),
        (lambda: YaRNScaling(float("inf"), 7), "got inf"),
        (lambda: Llama3Scaling(2.0, 0), "original_context must be at least 1, got 0"),
        (lambda: YaRNScaling(2.0, 7, fast=1.0), "slow < fast, got 1.0 and 1.0"),
        (lambda: RotaryEmbedding(2, 7, scaling=DynamicNTKScaling(2.0, 7)), "head size over 2"),
        (lambda: alibi_slopes(0), "n_heads must be at least 1, got 0"),
        (lambda: alibi_bias(2, 5, 3), "got 5 and 3"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    rotary, x = RotaryEmbedding(4, 5), torch.zeros(1, 1, 2, 4)
    with pytest.raises(ValueError, match="positions -1…3 lie outside the context of 5"):
        rotary(x, positions=torch.tensor([3, -1]))
    assert yarn_magnitude(1.0) == 1.0
