"""Positions against a literal loop over the paper's formula, and RoPE against `transformers`."""

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from tutor_lib.embed.positions import LearnedPositions, sinusoidal_positions
from tutor_lib.embed.rope import RotaryEmbedding, rope_angles, rotate


def test_sinusoidal_positions_are_the_papers_formula():
    length, width = 13, 22
    table = sinusoidal_positions(length, width)
    for t in range(length):
        for i in range(width // 2):
            angle = t / 10_000 ** (2 * i / width)
            assert table[t, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-5)
            assert table[t, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-5)


def test_learned_positions_add_their_rows():
    positions = LearnedPositions(11, 7)
    x = torch.randn(2, 3, 7)
    expected = x + positions.table(torch.tensor([5, 6, 7]))
    assert torch.equal(positions(x, start=5), expected)
    with pytest.raises(ValueError, match="positions 9…11 lie outside the table of 11"):
        positions(x, start=9)


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize("base", [10_000.0, 97.0])
def test_rope_turns_like_llama(start, base):
    batch, heads, length, size = 2, 3, 7, 22
    config = LlamaConfig(
        hidden_size=heads * size,
        num_attention_heads=heads,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    x = torch.randn(batch, heads, length, size)
    positions = torch.arange(start, start + length)[None]
    cos, sin = LlamaRotaryEmbedding(config)(x, positions)
    theirs, _ = apply_rotary_pos_emb(x, x, cos, sin)
    ours = RotaryEmbedding(size, 13, base)(x, start)
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_rope_scores_depend_on_distance_alone():
    q, k = torch.randn(1, 10, dtype=torch.double), torch.randn(1, 10, dtype=torch.double)
    angles = rope_angles(53, 10, 10_000.0)

    def score(i: int, j: int) -> float:
        return float((rotate(q, angles[i : i + 1]) * rotate(k, angles[j : j + 1])).sum())

    assert score(7, 3) == pytest.approx(score(47, 43), abs=1e-4)
    assert score(7, 3) != pytest.approx(score(7, 5), abs=1e-2)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="even, got 7"):
        sinusoidal_positions(3, 7)
    with pytest.raises(ValueError, match="negative, got -1"):
        sinusoidal_positions(-1, 8)
    with pytest.raises(ValueError, match="even, got 5"):
        rope_angles(3, 5, 10_000.0)
    with pytest.raises(ValueError, match=r"base must be positive, got 0\.0"):
        rope_angles(3, 4, 0.0)
    with pytest.raises(ValueError, match="positions 3…5 lie outside the context of 5"):
        RotaryEmbedding(4, 5)(torch.zeros(1, 1, 3, 4), start=3)
