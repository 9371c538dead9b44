"""T5's buckets and biases against those in `transformers`."""

import pytest
import torch
from transformers import T5Config
from transformers.models.t5.modeling_t5 import T5Attention

from tutor_lib.embed.relative import CausalRelativeBias, RelativeBias, distance_buckets

KINDS = {"encoder": RelativeBias, "decoder": CausalRelativeBias}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n_buckets", "max_distance"), [(32, 128), (8, 13), (4, 5), (20, 101)])
def test_buckets_are_transformers(kind, n_buckets, max_distance):
    behind = torch.arange(-307, 308)[None]
    expected = T5Attention._relative_position_bucket(
        -behind, kind == "encoder", n_buckets, max_distance
    )
    assert torch.equal(KINDS[kind](3, n_buckets, max_distance).buckets(behind), expected)
    # One is never used: that of a key after its query, at distance 0.
    unused = {n_buckets // 2} if kind == "encoder" else set()
    assert set(expected.flatten().tolist()) == set(range(n_buckets)) - unused


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("queries", "keys"), [(11, 11), (3, 11), (1, 11)])
def test_biases_are_transformers(kind, queries, keys):
    sizes = {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 7}
    config = T5Config(num_heads=3, is_decoder=kind == "decoder", **sizes)
    theirs = T5Attention(config, has_relative_attention_bias=True, layer_idx=0)
    ours = KINDS[kind](3, 8, 7)
    theirs.relative_attention_bias.load_state_dict(ours.table.state_dict())
    expected = theirs.compute_bias(queries, keys, past_seen_tokens=keys - queries)[0]
    assert torch.equal(ours(queries, keys), expected)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="need 1 ≤ exact < max_distance, got 0 and 128"):
        distance_buckets(torch.arange(5), 0, 128)
    with pytest.raises(ValueError, match="need 1 ≤ exact < max_distance, got 7 and 7"):
        distance_buckets(torch.arange(5), 7, 7)
    with pytest.raises(ValueError, match="max_distance must be over 16, got 16"):
        CausalRelativeBias(3, 32, 16)
    with pytest.raises(ValueError, match="must be a positive multiple of 4, got 6"):
        RelativeBias(3, 6, 128)
    with pytest.raises(ValueError, match="n_heads must be at least 1, got 0"):
        RelativeBias(0)
    with pytest.raises(ValueError, match="got 5 and 3"):
        RelativeBias(3)(5, 3)
