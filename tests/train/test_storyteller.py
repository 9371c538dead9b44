"""What the committed storyteller must have learned, and that its script makes it again."""

import json
import math
import os
import random
import subprocess
import sys

import pytest
import torch

from tutor_lib.inside.induction import induction_scores, previous_token_scores
from tutor_lib.inside.referent import ReferentPrompt, named_share, referent_scores
from tutor_lib.train.corpus import referents
from tutor_lib.train.loop import held_out_loss
from tutor_lib.train.storyteller import (
    ASSETS,
    CONFIG,
    CUT_DOWN_STEPS,
    bigram_loss,
    held_out_tokens,
    load_storyteller,
    main,
)
from tutor_lib.train.words import LISTABLE


@pytest.fixture(scope="module")
def storyteller():
    return load_storyteller()


@pytest.fixture(scope="module")
def record() -> dict:
    return json.loads((ASSETS / "storyteller.json").read_text())


@pytest.fixture(scope="module")
def lists(storyteller) -> torch.Tensor:
    """Fifty lists of 23 random words, no word twice."""
    _, tokenizer = storyteller
    words = torch.tensor([tokenizer.encode(f" {word}") for word in LISTABLE])
    assert words.shape == (len(LISTABLE), 1), "each word is one token"
    generator = torch.Generator().manual_seed(11)
    orders = [torch.randperm(len(words), generator=generator)[:23] for _ in range(50)]
    return torch.stack([words[order, 0] for order in orders])


@pytest.fixture(scope="module")
def prompts(storyteller) -> list[ReferentPrompt]:
    """Two hundred sentences of combinations never trained on, half of them about the thing."""
    _, tokenizer = storyteller
    rng, made = random.Random(13), []
    while len(made) < 200:
        drawn = referents(rng, held_out=True)
        ids, nouns = tokenizer.encode(drawn.prompt), [drawn.referent, drawn.other]
        made.append(
            ReferentPrompt(torch.tensor(ids), *(tokenizer.encode(f" {n}")[0] for n in nouns))
        )
    return made


@pytest.fixture(scope="module")
def cut_down(tmp_path_factory) -> dict:
    """The record of the script's own first steps, run as its reader runs it."""
    folder = tmp_path_factory.mktemp("storyteller")
    command = [sys.executable, "-m", "tutor_lib.train.storyteller", "--out", str(folder)]
    # One thread: two that wait for each other crawl where other work shares the cores.
    alone = os.environ | {"OMP_NUM_THREADS": "1"}
    command += ["--steps", str(CUT_DOWN_STEPS)]
    subprocess.run(command, check=True, capture_output=True, env=alone)
    return json.loads((folder / "storyteller.json").read_text())


def test_loss_is_35_percent_under_a_bigram_models(storyteller, record, cut_down):
    model, tokenizer = storyteller
    loss = held_out_loss(model, held_out_tokens(tokenizer), CONFIG.context_length)
    assert loss == pytest.approx(record["held_out_loss"], rel=0.001)
    assert cut_down["bigram_loss"] == pytest.approx(record["bigram_loss"], rel=1e-6)
    assert loss <= 0.65 * record["bigram_loss"]


def test_the_bigram_model_counts():
    """Three ids, counted by hand: after 0 comes 1 twice and 2 once."""
    train_tokens = torch.tensor([0, 1, 0, 1, 0, 2])
    expected = -(math.log(3 / 6) + math.log(3 / 5)) / 2  # p(1 | 0), p(0 | 1), each count plus one
    assert bigram_loss(train_tokens, torch.tensor([0, 1, 0]), 3, 3) == pytest.approx(expected)


def test_a_head_looks_at_the_token_before(storyteller, lists):
    assert previous_token_scores(storyteller[0], torch.cat((lists, lists), 1)).max() >= 0.4


def test_a_head_does_induction(storyteller, lists):
    assert induction_scores(storyteller[0], lists).max() >= 0.5


def test_the_referent_is_named(storyteller, prompts):
    assert 60 < sum(p.ids[1] == p.referent for p in prompts) < 140, "first noun or second"
    assert named_share(storyteller[0], prompts) >= 0.9


def test_a_head_prefers_the_referent(storyteller, prompts):
    assert referent_scores(storyteller[0], prompts).max() >= 0.8


def test_it_is_small():
    assert sum(p.numel() for p in load_storyteller()[0].parameters()) <= 1_000_000
    files = [ASSETS / "storyteller.safetensors", ASSETS / "tokenizer.json"]
    assert sum(file.stat().st_size for file in files) <= 1_000_000


def test_a_cut_down_run_gives_the_recorded_loss(record, cut_down):
    """The full run takes minutes; its cut-down run of the same seed must come out the same."""
    assert cut_down["held_out_loss"] == pytest.approx(record["cut_down_held_out_loss"], rel=0.02)


@pytest.mark.long
def test_the_script_makes_the_model_again(record, tmp_path):
    main(["--out", str(tmp_path)])
    again = json.loads((tmp_path / "storyteller.json").read_text())
    assert again["held_out_loss"] == pytest.approx(record["held_out_loss"], rel=0.02)


def test_files_that_do_not_fit_are_named(tmp_path):
    for name in ("tokenizer.json", "storyteller.safetensors"):
        (tmp_path / name).write_bytes((ASSETS / name).read_bytes())
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {}, "merges": []}}')
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        load_storyteller(tmp_path)
