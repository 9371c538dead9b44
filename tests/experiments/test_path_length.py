"""What the path-length experiment measures with, and what its stored run has found."""

import json

import pytest
import torch
from torch import nn

from tutor_lib.experiments import path_length
from tutor_lib.experiments.memory_models import MODELS
from tutor_lib.experiments.path_length import CHAIN, CUT_DOWN, DIRECT, FULL, NAMES, WORDS
from tutor_lib.experiments.record import load_record
from tutor_lib.rivals.past import signal_left

DRAW = torch.Generator()


@pytest.fixture(autouse=True)
def _draw():
    DRAW.manual_seed(7)


def test_a_text_is_a_name_and_other_words():
    ids = path_length.texts(13, 997, DRAW)
    assert set(ids[:, 0].tolist()) == {*range(NAMES)}
    assert set(ids[:, 1:].flatten().tolist()) == {*range(NAMES, NAMES + WORDS)}
    assert ids.shape == (997, 14)


def test_training_draws_every_distance():
    plan = path_length.Plan(steps=1, batch=2, longest=5)
    seen = set()
    for _, (ids, names) in zip(range(200), path_length.batches(plan, DRAW), strict=False):
        assert names.tolist() == [[row[0]] for row in ids.tolist()]
        seen.add(ids.size(1) - 1)
    assert seen == {1, 2, 3, 4, 5}


class Forgetful(nn.Module):
    """It says the name for as long as it is told to, and then the first of the other words."""

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, ids):
        said = ids[:, :1].expand(-1, ids.size(1)).clone()
        said[:, self.memory + 1 :] = NAMES
        return nn.functional.one_hot(said, NAMES + WORDS).double()


def test_names_are_counted_at_each_distance():
    found = path_length.right(Forgetful(3), path_length.texts(5, 11, DRAW))
    assert found.tolist() == [1, 1, 1, 0, 0]


@pytest.mark.parametrize("name", [*CHAIN, *DIRECT])
def test_the_signal_is_that_of_one_text_after_the_other(name):
    """Forward mode against the library's reverse mode, which asks one distance at a time."""
    model = MODELS[name].make(NAMES + WORDS).double()
    ids = path_length.texts(5, 3, DRAW)
    found = path_length.signal(model, ids)
    assert found.shape == (5,)
    for distance in range(1, 6):
        part = ids[:, : distance + 1]

        def on_vectors(x, part=part):
            with model.embedding.register_forward_hook(lambda *_: x):
                return model(part)

        expected = signal_left(on_vectors, model.embedding(part))[distance]
        torch.testing.assert_close(found[distance - 1], expected, atol=0, rtol=1e-9)


def test_relative_is_a_share_of_the_first():
    assert path_length.relative([4.0, 2.0, 8.0]) == [1.0, 0.5, 2.0]


def test_the_same_seed_finds_the_same_numbers():
    first, second = (path_length.run(CUT_DOWN, seed=3) for _ in range(2))
    assert json.dumps(first) == json.dumps(second)
    assert json.dumps(first) != json.dumps(path_length.run(CUT_DOWN, seed=4))
    assert list(first["models"]) == [*CHAIN, *DIRECT]


@pytest.fixture(scope="module")
def stored() -> dict:
    """What the last full run found."""
    return load_record("path_length")["results"]


def test_every_distance_is_measured(stored):
    assert stored["distances"] == [*range(1, FULL.longest + 1)]
    for found in stored["models"].values():
        for values in (found["right"], *found["signal"].values()):
            assert len(values) == FULL.longest
            assert min(values) >= 0


def test_the_rnn_loses_the_name_and_the_others_carry_it(stored):
    found = stored["models"]
    for name in ("LSTM", "transformer"):
        assert min(found[name]["right"]) > 0.95
    assert max(found["RNN"]["right"][4:]) < 0.5


def test_the_rnn_s_signal_vanishes_and_the_others_stay(stored):
    left = {name: found["signal"]["after"] for name, found in stored["models"].items()}
    shares = {name: path_length.relative(signals)[-1] for name, signals in left.items()}
    assert shares["RNN"] < 1e-6 < 0.1 < shares["LSTM"] < shares["transformer"]


def test_the_lstm_has_learned_to_keep_it(stored):
    signals = stored["models"]["LSTM"]["signal"]
    before, after = (path_length.relative(signals[when])[-1] for when in ("before", "after"))
    assert after > 10 * before


def test_a_switch_leaves_no_gradient_and_yet_a_bit(stored):
    """What the chapter says of the RNN: more names right than by chance, without a signal."""
    found = stored["models"]["RNN"]
    assert found["right"][-1] > 1.4 * stored["chance"]
    assert path_length.relative(found["signal"]["after"])[-1] < 1e-12


def test_the_networks_are_of_about_equal_size(stored):
    sizes = [found["parameters"] for found in stored["models"].values()]
    assert max(sizes) < 1.1 * min(sizes)
