"""The experiment that sets a mixture beside a dense model of equal operations."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from torch.nn import functional as F
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from tutor_lib.experiments import moe
from tutor_lib.experiments.record import ASSETS, load_record
from tutor_lib.experiments.stories import story_tokens
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.zoo import count_parameters
from tutor_lib.train.loop import held_out_loss, random_windows, train

PLAN = moe.CUT_DOWN


@pytest.fixture(scope="module")
def results() -> dict:
    return moe.run(PLAN, seed=1)


def without_seconds(results: dict) -> dict:
    curves = {
        name: {key: value for key, value in curve.items() if key != "seconds"}
        for name, curve in results["curves"].items()
    }
    return results | {"curves": curves}


def test_the_same_seed_gives_the_same_numbers(results):
    assert without_seconds(moe.run(PLAN, seed=1)) == without_seconds(results)


@pytest.mark.parametrize("plan", [PLAN, moe.FULL])
def test_both_models_make_the_same_number_of_operations(plan):
    """Counted by hand: two for each weight that a token meets, and attention's products."""
    dense, mixture = moe.configs(plan)
    c, layers, context = plan.d_model, plan.n_layers, plan.context_length
    shared = 2 * (640 * c + layers * 4 * c * c) + layers * 4 * c * context
    of_dense = shared + 2 * layers * 3 * c * dense.d_ff
    experts = 3 * c * plan.d_expert * plan.n_active
    of_mixture = shared + 2 * layers * (experts + c * plan.n_experts)
    assert of_dense == of_mixture
    assert moe.flops_per_token(dense, context) == of_dense
    assert moe.flops_per_token(mixture, context) == of_mixture
    assert count_parameters(dense).active == count_parameters(mixture).active


def test_turns_change_nothing_for_a_model(results):
    """The dense model's curve ends where a plain run on the same batches ends."""
    tokens = story_tokens(1, PLAN.documents)
    windows = random_windows(
        tokens, PLAN.batch, PLAN.context_length, torch.Generator().manual_seed(1)
    )
    torch.manual_seed(1)
    model = Decoder(moe.configs(PLAN)[0])
    train(model, islice(windows, PLAN.steps), PLAN.steps, PLAN.learning_rate)
    held_out = story_tokens(1, PLAN.held_out_documents, held_out=True)
    curve = results["curves"]["dense"]
    assert curve["step"] == [4, 8, 12]
    assert curve["loss"][-1] == held_out_loss(model, held_out, PLAN.context_length)
    for one in results["curves"].values():
        assert sorted(one["seconds"]) == one["seconds"]
        assert one["seconds"][0] > 0


def test_the_balancing_loss_is_added_for_each_layer():
    torch.manual_seed(1)
    model, ids = Decoder(moe.configs(PLAN)[1]), torch.randint(640, (3, 11))
    expected = F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
    for layer in moe.mixtures(model):
        expected = expected + 0.3 * load_balancing_loss_func(
            (layer.routing.logits,), PLAN.n_experts, PLAN.n_active
        )
    torch.testing.assert_close(moe.balanced_loss(model, 0.3)(ids), expected)
    assert len(moe.mixtures(model)) == PLAN.n_layers


def test_loads_are_shares_of_the_choices(results):
    for layers in results["load"].values():
        for shares in layers:
            assert len(shares) == PLAN.n_experts
            assert sum(shares) == pytest.approx(1, rel=1e-6)
            assert shares == sorted(shares, reverse=True)


def test_a_number_of_experts_that_does_not_fit_is_named():
    with pytest.raises(ValueError, match="multiple of 3, got 8"):
        moe.configs(replace(PLAN, n_experts=8))


@pytest.fixture(scope="module")
def stored() -> dict:
    if not (ASSETS / "moe.json").is_file():
        pytest.skip("the experiment has not been run in full")
    return load_record("moe")["results"]
