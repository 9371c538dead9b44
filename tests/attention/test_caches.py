"""Caches against a plain list of everything they were given."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import MistralConfig
from transformers.cache_utils import StaticCache

from tutor_lib.attention.cache import KVCache, RollingKVCache

B, K, D = 3, 2, 5


def pairs(n: int, seed: int) -> torch.Tensor:
    return torch.randn(2, B, K, n, D, generator=torch.Generator().manual_seed(seed))


# What happens to a cache: how many tokens come, or (negative) how many are taken back.
STEPS = st.lists(st.integers(-3, 9).filter(bool), min_size=1, max_size=23)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS, st.integers(1, 7))
def test_a_rolling_cache_hands_back_the_window(steps, window):
    cache = RollingKVCache(B, K, window, D)
    kept = torch.zeros(2, B, K, 0, D)  # all there ever was
    for i, n in enumerate(steps):
        if n < 0:
            target = max(0, kept.size(3) + n)
            try:
                cache.crop(target)
            except ValueError:
                assert kept.size(3) > window > 1, "it refuses only what it has forgotten"
                continue
            kept = kept[:, :, :, :target]
            continue
        new, past = pairs(n, i), min(kept.size(3), window - 1)
        kept = torch.cat((kept, new), dim=3)
        assert cache.n_keys(n) == past + n
        keys, values = cache.update(*new)
        assert torch.equal(keys, kept[0, :, :, -(past + n) :])
        assert torch.equal(values, kept[1, :, :, -(past + n) :])
        assert cache.length == kept.size(3)
    assert cache.keys.shape == (B, K, 2 * window, D), "however long the text"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(STEPS)
def test_a_full_cache_hands_back_everything(steps):
    cache, kept = KVCache(B, K, 23 * 9, D), torch.zeros(2, B, K, 0, D)
    for i, n in enumerate(steps):
        if n < 0:
            kept = kept[:, :, :, : max(0, kept.size(3) + n)]
            cache.crop(kept.size(3))
            continue
        kept = torch.cat((kept, pairs(n, i)), dim=3)
        assert cache.n_keys(n) == kept.size(3)
        keys, values = cache.update(*pairs(n, i))
        assert torch.equal(keys, kept[0])
        assert torch.equal(values, kept[1])


@pytest.mark.parametrize("cache", [KVCache(B, K, 11, D), RollingKVCache(B, K, 5, D)])
def test_rows_change_places_as_beams_do(cache):
    old, new, rows = pairs(7, 1), pairs(2, 2), torch.tensor([2, 0, 2])
    cache.update(*old)
    cache.reorder(rows)
    keys, values = cache.update(*new)
    n = keys.size(2)
    expected = torch.cat((old[:, rows], new), dim=3)[..., -n:, :]
    assert torch.equal(torch.stack((keys, values)), expected)


def test_it_is_transformers_static_cache():
    config = MistralConfig(num_hidden_layers=1, num_attention_heads=K, num_key_value_heads=K,
                           hidden_size=K * 6, head_dim=6, sliding_window=None)  # fmt: skip
    theirs, ours = StaticCache(config, max_cache_len=13), KVCache(B, K, 13, D)
    for i, n in enumerate((5, 1, 3)):
        keys, values = theirs.update(*pairs(n, i), 0)
        mine = ours.update(*pairs(n, i))
        assert torch.equal(mine[0], keys[:, :, : ours.length])
        assert torch.equal(mine[1], values[:, :, : ours.length])


def test_bad_input_is_named(unchecked_shapes):
    cache = KVCache(B, K, 7, D)
    cache.update(*pairs(5, 0))
    rolling = RollingKVCache(B, K, 3, D)
    rolling.update(*pairs(11, 0))
    cases = [
        (lambda: cache.crop(6), r"can crop to 0…5 positions, not to 6"),
        (lambda: cache.crop(-1), "not to -1"),
        (lambda: rolling.crop(7), "cannot crop 11 positions to 7: the cache has forgotten"),
        (lambda: cache.reorder(torch.tensor([0, 3])), r"rows must lie in 0…2, got \[0, 3\]"),
        (lambda: cache.update(*pairs(3, 0)), "holds 7 positions, 8 are needed"),
        (lambda: rolling.update(*pairs(2, 0)[:, :2]), r"\(2, 2, 2, 5\) do not fit \(3, 2, 5\)"),
        (lambda: KVCache(B, K, 7, D, value_size=0), "must be positive"),
        (lambda: RollingKVCache(B, K, 0, D), "must be positive"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()
    assert (cache.length, rolling.length) == (5, 11)


@pytest.mark.parametrize("window", [2, 3, 5, 11])
def test_half_a_window_can_always_be_taken_back(window):
    """Speculative decoding drafts a few tokens and crops those that are rejected."""
    for length in range(1, 6 * window):
        for chunk in (1, 2, window, 3 * window):
            cache = RollingKVCache(B, K, window, D)
            for _ in range(0, length, chunk):
                cache.update(*pairs(chunk, 0))
            target = cache.length - min(cache.length, window // 2)
            cache.crop(target)
            assert cache.length == target
