"""The experiment that sets a mixture beside a dense model of equal operations."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func

from tutor_lib.experiments import moe
from tutor_lib.experiments.record import ASSETS, load_record
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.zoo import count_parameters
from tutor_lib.train.loop import train_on
from tutor_lib.train.trainer import Trainer, TrainingPlan

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
    shared = 2 * (plan.n_words * c + layers * 4 * c * c) + layers * 4 * c * context
    of_dense = shared + 2 * layers * 3 * c * dense.d_ff
    experts = 3 * c * plan.d_expert * plan.n_active
    of_mixture = shared + 2 * layers * (experts + c * plan.n_experts)
    assert of_dense == of_mixture
    assert moe.flops_per_token(dense, context) == of_dense
    assert moe.flops_per_token(mixture, context) == of_mixture
    assert count_parameters(dense).active == count_parameters(mixture).active


def test_turns_change_nothing_for_a_model(results):
    """The dense model's curve ends where a plain run on the same batches ends."""
    generator = torch.Generator().manual_seed(1)
    table = torch.randint(PLAN.n_words, (PLAN.n_words, PLAN.n_words), generator=generator)
    ids, targets = next(moe.texts(table, PLAN.held_out, PLAN.facts, generator))
    torch.manual_seed(1)
    model = Decoder(moe.configs(PLAN)[0])

    def loss_of(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())

    plan = TrainingPlan(PLAN.steps, PLAN.learning_rate)
    batches = moe.texts(table, PLAN.batch, PLAN.facts, generator)
    train_on(Trainer(model, loss_of, plan), batches)
    curve = results["curves"]["dense"]
    assert curve["step"] == [10, 20, 30]
    assert curve["loss"][-1] == pytest.approx(loss_of(ids, targets).item(), rel=1e-6)
    for one in results["curves"].values():
        assert sorted(one["seconds"]) == one["seconds"]
        assert one["seconds"][0] > 0


def test_a_text_states_facts_of_the_table_and_asks_for_the_third_words():
    table = torch.arange(49).view(7, 7) % 5
    ids, targets = next(moe.texts(table, 3, 11, torch.Generator().manual_seed(1)))
    assert ids.shape == (3, 33)
    for row, asked in zip(ids.tolist(), targets.tolist(), strict=True):
        for i in range(0, 33, 3):
            a, b, c = row[i : i + 3]
            assert c == (7 * a + b) % 5
            assert asked[i : i + 3] == [-100, c, -100]
    assert ids[:, 0::3].unique().tolist() == list(range(7))


def test_the_balancing_loss_is_added_for_each_layer():
    torch.manual_seed(1)
    model, (ids, targets) = Decoder(moe.configs(PLAN)[1]), torch.randint(PLAN.n_words, (2, 3, 11))
    expected = F.cross_entropy(model(ids).flatten(0, 1), targets.flatten())
    for layer in moe.mixtures(model):
        expected = expected + 0.3 * load_balancing_loss_func(
            (layer.routing.logits,), PLAN.n_experts, PLAN.n_active
        )
    torch.testing.assert_close(moe.balanced_loss(model, 0.3)(ids, targets), expected)
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


def final(results: dict, name: str) -> float:
    return results["curves"][name]["loss"][-1]


def test_stored_at_equal_operations_the_mixture_remembers_more(stored):
    dense, mixture = stored["parameters"]
    assert stored["flops_per_token"][0] == stored["flops_per_token"][1]
    assert mixture > 1.5 * dense
    assert final(stored, "moe") < 0.8 * final(stored, "dense")


def test_stored_at_equal_time_it_is_first_behind_and_then_ahead(stored):
    dense, mixture = stored["curves"]["dense"], stored["curves"]["moe"]

    def ahead(seconds: float) -> bool:
        """Whether the mixture's last loss by then is under the dense model's."""
        reached = [sum(x <= seconds for x in curve["seconds"]) - 1 for curve in (dense, mixture)]
        return mixture["loss"][reached[1]] < dense["loss"][reached[0]]

    assert not ahead(5)
    assert ahead(dense["seconds"][-1])


def test_stored_a_step_of_the_mixture_takes_longer(stored):
    dense, mixture = (stored["curves"][name]["seconds"][-1] for name in ("dense", "moe"))
    assert mixture > 1.1 * dense


def test_stored_the_balancing_loss_evens_out_the_load(stored):
    """The share of the choices that would have to move to an other expert, for an even load."""

    def uneven(name: str) -> float:
        layers = stored["load"][name]
        return sum(max(share - 1 / len(shares), 0) for shares in layers for share in shares)

    assert uneven("moe") < 0.75 * uneven("unbalanced")
