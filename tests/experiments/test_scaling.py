"""The scaling experiment: its runs against runs from scratch, its fits against scipy's."""

from itertools import islice

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from tutor_lib.experiments import scaling
from tutor_lib.experiments.record import ASSETS, load_record
from tutor_lib.experiments.stories import story_tokens
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.corpus import corpus
from tutor_lib.train.loop import held_out_loss, loss_function, random_windows, train_on
from tutor_lib.train.storyteller import load_storyteller
from tutor_lib.train.trainer import Trainer

PLAN = scaling.CUT_DOWN


@pytest.fixture(scope="module")
def results() -> dict:
    return scaling.run(PLAN, seed=1)


def test_the_same_seed_gives_the_same_numbers(results):
    assert scaling.run(PLAN, seed=1) == results


def test_each_run_is_what_a_run_of_its_length_from_scratch_gives(results):
    """A branch of a longer run is no shortcut: bit for bit the same loss."""
    tokens, held_out = (
        story_tokens(1, PLAN.documents),
        story_tokens(1, PLAN.held_out_documents, True),
    )
    n_width, steps = 2, 16
    torch.manual_seed(1)
    model = Decoder(scaling.config(PLAN.widths[n_width], PLAN))
    plan = scaling.training_plan(PLAN.widths[n_width], steps, PLAN)
    windows = random_windows(
        tokens, PLAN.batch, PLAN.context_length, torch.Generator().manual_seed(1)
    )
    train_on(Trainer(model, loss_function(model), plan), ((ids,) for ids in windows))
    found = results["runs"][3 * n_width]
    assert found["tokens"] == steps * PLAN.batch * PLAN.context_length
    assert found["parameters"] == scaling.non_embedding_parameters(model)
    assert found["loss"] == held_out_loss(model, held_out, PLAN.context_length)


def test_a_run_that_is_ended_leaves_the_longer_one_alone():
    plan = scaling.training_plan(8, 16, PLAN)
    windows = [*islice(iter(torch.randint(640, (16, 4, 11))), 16)]
    after = []
    for lengths in ((16,), (5, 9, 16)):
        torch.manual_seed(1)
        model = Decoder(scaling.config(8, PLAN))
        after.append(scaling.train_to_lengths(model, plan, windows, lengths)[-1][1])
    for a, b in zip(after[0].parameters(), after[1].parameters(), strict=True):
        assert torch.equal(a, b)


def test_parameters_are_counted_as_kaplan_does():
    """Their table 1, with the third matrix of SwiGLU: L (4 C² + 3 C F), from 10³ to 10⁶."""
    counts = []
    for width in scaling.FULL.widths:
        config = scaling.config(width, scaling.FULL)
        expected = config.n_layers * (4 * width**2 + 3 * width * config.d_ff)
        assert scaling.non_embedding_parameters(Decoder(config)) == expected
        counts.append(expected)
    assert 900 < counts[0] < 1100
    assert 0.9e6 < counts[-1] < 1.1e6
    assert np.diff(np.log10(counts)) == pytest.approx(np.log10(4), abs=0.01)


def test_lists_are_left_out():
    _, tokenizer = load_storyteller()
    text = tokenizer.decode(story_tokens(3, 200).tolist())
    assert " said: " not in text
    assert " said: " in corpus(3, 200)
    kept = [doc for doc in corpus(3, 200).split("<|endoftext|>") if "said:" not in doc]
    assert text == "<|endoftext|>".join(kept)


def against_scipy(fits: dict, runs: list[dict]) -> None:
    here = [one for one in runs if one["tokens"] == fits["tokens"]]
    line = stats.linregress(
        np.log([one["parameters"] for one in here]), np.log([one["loss"] for one in here])
    )
    assert fits["without_floor"]["exponents"][0] == pytest.approx(-line.slope, rel=1e-3)
    error = stats.t.ppf(0.95, len(here) - 2) * line.stderr
    expected = (-line.slope - error, -line.slope + error)
    assert fits["without_floor"]["exponent_intervals"][0] == pytest.approx(expected, rel=2e-3)


def test_the_fit_is_scipys(results):
    against_scipy(results["fits"], results["runs"])


@pytest.fixture(scope="module")
def stored() -> dict:
    if not (ASSETS / "scaling.json").is_file():
        pytest.skip("the experiment has not been run in full")
    return load_record("scaling")["results"]


def test_stored_fits_are_scipys(stored):
    against_scipy(stored["fits"], stored["runs"])
    fit = stored["fits"]["with_floor"]
    here = [one for one in stored["runs"] if one["tokens"] == stored["fits"]["tokens"]]
    n, y = (np.array([one[name] for one in here]) for name in ("parameters", "loss"))
    best, covariance = optimize.curve_fit(
        lambda n, a, alpha, e: np.log(np.exp(e) + np.exp(a) * n**-alpha), n, np.log(y),
        [np.log(fit["scales"][0]), fit["exponents"][0], np.log(fit["floor"])],
    )  # fmt: skip
    assert fit["exponents"][0] == pytest.approx(best[1], rel=0.01)
    error = stats.t.ppf(0.95, len(n) - 3) * np.sqrt(covariance[1, 1])
    assert fit["exponent_intervals"][0] == pytest.approx(
        (best[1] - error, best[1] + error), rel=0.02
    )


def test_stored_sizes_go_from_a_thousand_to_a_million(stored):
    sizes = sorted({one["parameters"] for one in stored["runs"]})
    assert len(sizes) == 6
    assert 900 < sizes[0] < 1100
    assert 0.9e6 < sizes[-1] < 1.1e6


def test_stored_a_floor_makes_the_exponent_many_times_as_large(stored):
    """And its interval holds neither the exponent without one nor Kaplan's 0.076."""
    without, floored = (stored["fits"][name] for name in ("without_floor", "with_floor"))
    assert floored["exponents"][0] > 5 * without["exponents"][0]
    assert floored["exponent_intervals"][0][0] > max(0.076, without["exponent_intervals"][0][1])
    assert floored["largest_error"] < without["largest_error"]


def test_stored_the_floor_is_not_the_texts_entropy(stored):
    """The storyteller, trained on more, lies under what more parameters alone would reach."""
    assert stored["storyteller"] < stored["fits"]["with_floor"]["floor_interval"][0]
