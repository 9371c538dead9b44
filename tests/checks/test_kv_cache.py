"""The KV cache lab's references against other people's code, and what its drives look for."""

import pytest
import torch
from torch.nn import functional as F

from tests.checks.answers.kv_cache import RIGHT
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.kv_cache import LAB
from tutor_lib.checks.kv_cache.cache import Reference as KVCache
from tutor_lib.checks.kv_cache.model import BareDecoder
from tutor_lib.checks.kv_cache.passes import empty
from tutor_lib.checks.kv_cache.rolling import Reference as RollingKVCache
from tutor_lib.checks.kv_cache.toys import CLEAR, clear_toy, closest_call, toy
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder

KINDS = ("llama", "gpt2", "deep")


def reference(name):
    return LAB.exercises[name].reference


def draw(seed):
    return Draw(torch.Generator().manual_seed(seed))


def triangle(n):
    return torch.ones(n, n, dtype=torch.bool).tril()


def greedy(decoder, ids, n):
    """The library's own decoder, without a cache."""
    with torch.no_grad():
        for _ in range(n):
            ids = torch.cat((ids, decoder(ids)[:, -1:].argmax(-1)), dim=1)
    return ids


# --- the model that the exercises run -----------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_the_bare_decoder_is_the_librarys(kind):
    model, ids = toy(draw(1), kind), draw(2).ids(31, 3, 7)
    with torch.no_grad():
        wanted = model.decoder(ids)
    torch.testing.assert_close(model(ids, torch.arange(7), triangle(7)), wanted)
    assert model.tokens == 21


def test_the_bare_decoder_repeats_heads_by_what_it_is_given():
    lent = []

    def repeat(x, times):
        lent.append((x.size(1), times))
        return x.repeat_interleave(times, dim=1)

    model = BareDecoder(toy(draw(1), "llama").decoder, repeat)
    model(torch.zeros(1, 2, dtype=torch.long), torch.arange(2), triangle(2))
    assert lent == [(3, 2)] * 4  # keys and values of two layers


@pytest.mark.parametrize(
    ("positions", "mask", "told"),
    [
        (torch.arange(4), triangle(5), r"positions must be \(5,\) whole numbers, got int64 \(4,\)"),
        (torch.arange(5.0), triangle(5), r"whole numbers, got float32 \(5,\)"),
        (torch.arange(5), triangle(5).float(), r"mask must be bool \(5, 5\), got float32"),
        (torch.arange(5), triangle(4), r"0 tokens in the caches and 5 coming.*got bool \(4, 4\)"),
    ],
)
def test_the_bare_decoder_says_what_does_not_fit(positions, mask, told):
    with pytest.raises(ValueError, match=told):
        toy(draw(1), "gpt2")(torch.zeros(1, 5, dtype=torch.long), positions, mask)


def test_the_bare_decoder_wants_a_column_for_what_the_caches_hold():
    model, ids = toy(draw(1), "llama"), draw(2).ids(31, 2, 3)
    caches = empty(model, ids, 7)
    model(ids, torch.arange(3), triangle(3), caches)
    with pytest.raises(ValueError, match=r"3 tokens in the caches and 3 coming.*bool \(3, 6\)"):
        model(ids, torch.arange(3, 6), triangle(3), caches)


@pytest.mark.parametrize("kind", KINDS)
def test_no_choice_of_a_toy_is_a_close_call(kind):
    """A right answer may round otherwise; it must not choose another token for that."""
    for seed in range(5):
        model, prompt = clear_toy(draw(seed), kind, 2, 3, 5)
        ids, leads = prompt, []
        for _ in range(5):
            best = model(ids, torch.arange(ids.size(1)), triangle(ids.size(1)))[:, -1].sort(-1)
            leads.append(best.values[:, -1] - best.values[:, -2])
            ids = torch.cat((ids, best.indices[:, -1:]), dim=1)
        assert min(map(torch.Tensor.min, leads)) > 0.9 * CLEAR
        assert torch.equal(ids, greedy(model.decoder, prompt, 5))
        assert closest_call(model, prompt, 5) > CLEAR


# --- the references -----------------------------------------------------------------------------


def test_repeat_kv_is_pytorchs_grouping():
    q, x = draw(1)(2, 15, 5, 7), draw(2)(2, 3, 11, 7)
    repeated = reference("repeat_kv")(x, 5)
    grouped = F.scaled_dot_product_attention(q, x, x, enable_gqa=True)
    torch.testing.assert_close(F.scaled_dot_product_attention(q, repeated, repeated), grouped)


def test_the_cache_is_that_of_transformers():
    hugging = pytest.importorskip("transformers.cache_utils").DynamicCache()
    cache, numbers = KVCache(2, 3, 13, 5), draw(3)
    for n_new in (7, 1, 5):
        k, v = numbers(2, 3, n_new, 5), numbers(2, 3, n_new, 5)
        for seen, wanted in zip(cache.update(k, v), hugging.update(k, v, 0), strict=True):
            assert torch.equal(seen, wanted)
        assert cache.length == hugging.get_seq_length()
    hugging.crop(-9)  # its argument is what to take away
    cache.crop(4)
    k, v = numbers(2, 3, 1, 5), numbers(2, 3, 1, 5)
    assert torch.equal(cache.update(k, v)[0], hugging.update(k, v, 0)[0])
    with pytest.raises(ValueError, match="holds 13 positions, 14 are needed"):
        cache.update(numbers(2, 3, 9, 5), numbers(2, 3, 9, 5))
    with pytest.raises(ValueError, match="do not fit"):
        cache.update(numbers(2, 1, 1, 5), numbers(2, 1, 1, 5))


@pytest.mark.parametrize("kind", KINDS)
def test_prefill_and_decode_give_the_logits_of_the_whole_text(kind):
    model, ids = toy(draw(4), kind), draw(5).ids(31, 2, 13)
    caches = empty(model, ids, 13)
    with torch.no_grad():
        whole = model.decoder(ids)
    for start, stop in ((0, 5), (5, 11)):
        logits = reference("prefill")(model, ids[:, start:stop], caches)
        torch.testing.assert_close(logits, whole[:, stop - 1], rtol=1e-4, atol=1e-5)
    for t in (11, 12):
        logits = reference("decode_step")(model, ids[:, t], caches)
        torch.testing.assert_close(logits, whole[:, t], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_both_ways_of_writing_are_the_librarys_greedy_one(kind):
    model, prompt = clear_toy(draw(6), kind, 3, 5, 7)
    wanted = greedy(model.decoder, prompt, 7)
    assert torch.equal(reference("generate")(model, prompt, 7), wanted)
    assert model.tokens == 3 * (5 + 7 - 1)
    assert torch.equal(reference("generate_uncached")(model, prompt, 7), wanted)


def test_counting_gives_the_two_formulas():
    model, prompt, lengths = toy(draw(7), "llama"), draw(8).ids(31, 1, 5), [3, 1, 11]
    count = reference("count_tokens")
    counted = count(reference("generate"), model, prompt, lengths)
    assert counted == [5 + n - 1 for n in lengths]
    counted = count(reference("generate_uncached"), model, prompt, lengths)
    assert counted == [sum(5 + i for i in range(n)) for n in lengths]


def test_bytes_are_those_of_the_tensors_and_of_the_papers():
    config = DecoderConfig(11, 64, 3, 30, 5, 5, 8, head_dim=14)
    caches = Decoder(config).double().new_caches(7, 13)
    there = sum(tensor.nbytes for cache in caches for tensor in (cache.keys, cache.values))
    assert reference("kv_cache_bytes")(config, 13, 7, torch.float64) == there
    for n_kv_heads, kib in ((64, 2560), (8, 320)):  # Llama 2-70B, with MHA and as it is
        config = DecoderConfig(32_000, 4096, 80, 8192, 64, n_kv_heads, 28_672)
        assert reference("kv_cache_bytes")(config, 1, 1, torch.bfloat16) == kib * 1024


@pytest.mark.parametrize("window", [1, 2, 5, 17])
@pytest.mark.parametrize("steps", [(1,) * 13, (7, 1, 5), (3, 3, 7)])
def test_the_rolling_cache_attends_as_a_banded_mask_does(window, steps):
    q, k, v = draw(9)(3, 2, 3, 13, 5)
    at = torch.arange(13)
    band = (at <= at[:, None]) & (at > at[:, None] - window)
    wanted, cache, start = F.scaled_dot_product_attention(q, k, v, band), None, 0
    cache = RollingKVCache(2, 3, window, 5)
    for n_new in steps:
        stop = start + n_new
        keys, values = cache.update(k[:, :, start:stop], v[:, :, start:stop])
        assert keys.size(2) == min(start, window - 1) + n_new
        mixed = F.scaled_dot_product_attention(
            q[:, :, start:stop], keys, values, band[start:stop, stop - keys.size(2) : stop]
        )
        torch.testing.assert_close(mixed, wanted[:, :, start:stop])
        start = stop
    assert cache.length == 13


# --- what is said of make-ups that are no known mistake -----------------------------------------


class Written(RIGHT["KVCache"][0]):
    """A right cache, for wrong ones to start from."""


def said(part, wrong, seed=0):
    told = LAB.parts[part].diagnose(wrong, seed)
    assert told is not None
    return told


def test_a_cache_that_does_not_count_is_told_so():
    class Uncounted(Written):
        length = property(lambda self: None, lambda self, _: None)

        def update(self, k, v):
            return k, v

    class Method(Written):
        def __init__(self, *sizes):
            self.length = lambda: 3

        def update(self, k, v):
            return k, v

    assert "Your cache's length is missing" in said("KVCache", Uncounted)
    assert "Your cache's length is a method" in said("KVCache", Method)


def test_an_update_that_returns_no_pair_is_told_so():
    class Nothing(Written):
        def update(self, k, v):
            super().update(k, v)

    class Three(Written):
        def update(self, k, v):
            return (*super().update(k, v), None)

    class Arrays(Written):
        def update(self, k, v):
            return tuple(x.numpy() for x in super().update(k, v))

    assert "yours returned None. Is there a `return` line?" in said("KVCache", Nothing)
    assert "yours returned 3 things" in said("KVCache", Three)
    assert "your keys are one ndarray" in said("KVCache", Arrays)


def test_two_caches_that_share_their_count_are_told_so():
    class Shared(Written):
        counts = [0]  # noqa: RUF012

        def __init__(self, *sizes):
            super().__init__(*sizes)
            type(self).counts = [0]

        @property
        def length(self):
            return self.counts[0]

        @length.setter
        def length(self, value):
            self.counts[0] = value

    assert "Two caches share one count" in said("KVCache", Shared)


def test_a_cache_that_keeps_the_callers_tensors_is_seen():
    """Its owner may change them later; the cache must have its own."""

    class Keeps(Written):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.all = ([], [])

        def update(self, k, v):
            super().update(k, v)
            self.all[0].append(k)
            self.all[1].append(v)
            return torch.cat(self.all[0], dim=2), torch.cat(self.all[1], dim=2)

    assert "yours is 99" in said("KVCache", Keeps)


def test_a_crop_that_leaves_too_much_in_sight_is_told_with_shapes():
    class CropsHalf(Written):
        def crop(self, length):
            self.cropped = length

        def update(self, k, v):
            keys, values = super().update(k, v)
            if hasattr(self, "cropped"):
                self.length = self.cropped
            return keys, values

    told = said("KVCache_crop", CropsHalf)
    assert (
        "returns shape (1, 2, 6, 4); in a cache that was filled so far only, (1, 2, 4, 4)" in told
    )


def test_a_mistake_in_update_costs_crop_and_room_nothing():
    class Exchanged(Written):
        def update(self, k, v):
            keys, values = super().update(k, v)
            return values, keys

    assert LAB.parts["KVCache"].diagnose(Exchanged) is not None
    assert LAB.parts["KVCache_crop"].diagnose(Exchanged) is None
    assert LAB.parts["KVCache_room"].diagnose(Exchanged) is None


def test_a_rolling_cache_that_keeps_everything_is_told_so():
    class Keeps(RIGHT["RollingKVCache"][0]):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.all = []

        def update(self, k, v):
            self.all.append(k.clone())
            return super().update(k, v)

    assert "What no query will look at again must go" in said("RollingKVCache", Keeps)


def test_writing_that_differs_from_call_to_call_is_told_so():
    calls = []

    def generate(model, prompt, n):
        calls.append(n)
        return torch.cat((prompt, prompt[:, :1].repeat(1, n) + len(calls)), dim=1)

    assert "gives another text" in said("generate", generate)


def test_a_count_that_is_no_list_is_told_so():
    assert "yours returned None" in said("count_tokens", lambda *_: None)
    assert "yours returned int" in said("count_tokens", lambda *_: 3)


@pytest.mark.parametrize("part", ["prefill", "decode_step", "generate"])
def test_the_finished_thing_is_seen(part):
    def student(model, ids, more):
        return model.decoder(ids if ids.ndim == 2 else ids[:, None])[:, -1]

    assert "You call tutor_lib.model.decoder.Decoder.forward" in said(part, student)


def test_a_right_answer_that_stays_on_the_cpu_is_told_so():
    class Here(Written):
        def __init__(self, batch, n_kv_heads, capacity, head_size, dtype, device):
            super().__init__(batch, n_kv_heads, capacity, head_size, dtype)

    assert "on a GPU" in said("KVCache", Here)
