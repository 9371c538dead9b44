"""The experiment of LoRA's ranks: a cut-down run, and what the full one found."""

import re

import pytest

from tutor_lib.experiments.lora_rank import CUT_DOWN, LINEAR, PHRASES, Study, pirate, run
from tutor_lib.experiments.record import load_record, rounded
from tutor_lib.train.corpus import corpus
from tutor_lib.train.storyteller import CONFIG, load_storyteller


@pytest.fixture(scope="module")
def found() -> dict:
    return run(CUT_DOWN, 0)


def test_a_pirate_tells_the_same_stories():
    text = (
        "One day Ben found a key. The cats by the box are red. In the end Ben was sad.<|endoftext|>"
    )
    assert pirate(text) == (
        "One stormy night Ben plundered a key, arr! The cats by the box be red, arr! "
        "By my beard, Ben was sad, arr!<|endoftext|>"
    )
    told = pirate(corpus(0, 300))
    assert not re.search(r"\.(?= |<)", told)
    assert not PHRASES.search(told.replace("so, arr", "").replace("but, blimey", ""))
    assert told.count("<|endoftext|>") == 300


def test_the_share_is_a_count(found):
    """R (in + out) numbers a matrix, over all of the storyteller's and these."""
    wide, narrow, hidden = CONFIG.d_model, CONFIG.d_model // 2, CONFIG.d_ff
    sides = 2 * (wide + wide) + 2 * (wide + narrow) + 3 * (wide + hidden)
    base = sum(p.numel() for p in load_storyteller()[0].parameters())
    for row in found["by_rank"]:
        added = CONFIG.n_layers * row["rank"] * sides
        assert row["share"] == pytest.approx(added / (base + added))
    assert found["whole"]["share"] == 1


def test_bits_are_a_count(found):
    """Each matrix has whole blocks of 64, and fewer than 256 · 64 · 2 numbers."""
    full, plain, double = found["by_bits"]
    assert full["bits"] == 32
    assert plain["bits"] == 4.5
    wide, narrow, hidden = CONFIG.d_model, CONFIG.d_model // 2, CONFIG.d_ff
    sizes = [wide * wide] * 2 + [wide * narrow] * 2 + [wide * hidden] * 3
    groups = [-(-n // (64 * 256)) for n in sizes]
    bits = sum(4 * n + 8 * n / 64 + 32 * (g + 1) for n, g in zip(sizes, groups, strict=True))
    assert double["bits"] == pytest.approx(bits / sum(sizes))
    assert len(sizes) == len(LINEAR)


def test_a_short_run_learns_and_the_same_seed_gives_the_same(found):
    for row in (*found["by_rank"], found["whole"], found["blocks"], *found["by_bits"]):
        assert row["new"] < found["before"]["new"] - 1
        assert row["old"] > found["before"]["old"]
    study = Study(CUT_DOWN, 0)
    again = study.trained(study.with_lora(1))
    assert {"rank": 1} | rounded(again) == rounded(found["by_rank"][0])


def test_four_bits_cost_little_before_any_training(found):
    before = found["before"]["old"]
    for row in found["by_bits"][1:]:
        assert before < row["untrained"]["old"] < before + 0.2


def test_the_full_run_shows_what_the_book_says():
    results = load_record("lora_rank")["results"]
    by_rank = results["by_rank"]
    assert [row["rank"] for row in by_rank] == [1, 2, 4, 8, 16]
    losses = [row["new"] for row in by_rank]
    assert losses[0] > losses[1] + 0.1  # more rank, more learned; from 4 on it is nearly flat
    assert losses[1] > losses[2] + 0.05
    assert losses[2] - min(losses) < 0.1
    # What is missing at rank 16 is the embedding, which LoRA does not touch.
    assert losses[-1] - results["blocks"]["new"] < 0.05
    assert results["blocks"]["new"] - results["whole"]["new"] > 0.3
    assert by_rank[0]["share"] < 0.013
    # The first hundredth of the numbers already takes most of the way.
    start, end = results["before"]["new"], results["whole"]["new"]
    assert start - losses[0] > 0.8 * (start - end)
    # All weights learn more and forget more.
    assert end < min(losses) - 0.3
    assert results["whole"]["old"] > max(row["old"] for row in by_rank)
    full, plain, double = results["by_bits"]
    assert plain["new"] == pytest.approx(full["new"], abs=0.05)
    assert double["new"] == pytest.approx(plain["new"], abs=0.05)
    assert double["bits"] < plain["bits"] == 4.5
