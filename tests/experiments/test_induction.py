"""The texts, the measures and the cut-down run; and what the full run must have shown."""

import copy
import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from tutor_lib.experiments.induction import (
    CUT_DOWN,
    FULL,
    KINDS,
    HeldOut,
    ablation,
    heads_of,
    lists,
    phase_change,
    run,
)
from tutor_lib.experiments.record import load_record
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import ATTENTION_ONLY
from tutor_lib.train.words import LISTABLE


@pytest.fixture(scope="module")
def record() -> dict:
    return load_record("induction")["results"]


def test_a_text_is_a_list_without_repeats_said_over_and_over():
    texts = lists(FULL, 200, torch.Generator().manual_seed(3)).tolist()
    lengths = set()
    for text in texts:
        n = text.index(text[0], 1)
        assert text == (text[:n] * 8)[: FULL.context_length]
        assert len(set(text[:n])) == n
        lengths.add(n)
    assert lengths == set(range(FULL.shortest, FULL.longest + 1))
    assert {word for text in texts for word in text} == set(range(len(LISTABLE)))


def test_the_phase_change_is_where_the_curve_climbs():
    scores = [0.1, 0.11, 0.18, 0.12, 0.5, 0.7, 0.99, 0.95, 1.1]  # a rise of 1: from 0.2 to 1.0
    found = phase_change([0, 5, 10, 15, 20, 25, 30, 35, 40], scores)
    assert found == {"from": 15, "to": 40, "share": 25 / 40}
    assert phase_change([0, 1, 2], [0.0, 0.0, 1.0]) == {"from": 1, "to": 2, "share": 0.5}


def test_the_loss_without_a_head_is_that_with_its_mean_in_a_bias():
    plan = replace(CUT_DOWN, shortest=3, longest=5, context_length=17)
    config = DecoderConfig(len(LISTABLE), 17, 2, 12, 2, 2, 1, family=ATTENTION_ONLY)
    model, texts = Decoder(config), lists(plan, 6, torch.Generator())
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    found = ablation(model, plan, HeldOut(texts, texts[:, :3]))

    def loss(model: Decoder) -> float:
        """Of the words from the seventh on: the first six may be of a list's first saying."""
        losses = [F.cross_entropy(model(text[None])[0, 5:-1], text[6:]) for text in texts]
        return sum(losses).item() / 6

    z: list[torch.Tensor] = []  # each layer's heads side by side, in the intact model
    for block in model.blocks:
        block.attention.o_proj.register_forward_pre_hook(lambda _, given: z.append(given[0]))
    model(texts)
    means = [z[layer].mean(dim=(0, 1)) for layer in range(2)]

    def loss_without(heads: list[tuple[int, int]]) -> float:
        cut = copy.deepcopy(model)
        for layer, head in heads:
            project, own = cut.blocks[layer].attention.o_proj, slice(head * 6, head * 6 + 6)
            constant = project.weight.data[:, own] @ means[layer][own]
            before = 0 if project.bias is None else project.bias.data
            project.bias = torch.nn.Parameter(before + constant)
            project.weight.data[:, own] = 0
        return loss(cut)

    assert found["intact"] == pytest.approx(loss(model))
    for layer in range(2):
        for head in range(2):
            assert found["without"][layer][head] == pytest.approx(loss_without([(layer, head)]))
    for kind in KINDS:
        expected = loss_without(heads_of(kind, found))
        assert found["without_all"][kind] == pytest.approx(expected)


def test_a_head_is_what_its_scores_say():
    found = {"induction_scores": [[0.1, 0.51], [0.3, 0.0]],
             "previous_token_scores": [[0.26, 0.3], [0.25, 0.9]]}  # fmt: skip
    assert heads_of("induction", found) == [(0, 1)]
    assert heads_of("previous token", found) == [(0, 0), (1, 1)]
    assert heads_of("neither", found) == [(1, 0)]


def test_a_cut_down_run_is_the_same_for_the_same_seed():
    found = run(CUT_DOWN)
    assert found == run(CUT_DOWN)
    assert found != run(CUT_DOWN, seed=1)
    json.dumps(found, allow_nan=False)
    for curves in (found["one_layer"], found["two_layers"]):
        assert curves["step"] == [0, 4, 8, 12]
        assert all(len(values) == 4 for values in curves.values())
        # An untrained model bets on all words alike, and its heads look everywhere alike.
        assert curves["loss"][0] == pytest.approx(math.log(len(LISTABLE)), rel=0.01)
        n = CUT_DOWN.longest
        even = sum(1 / (n + i + 1) for i in range(n - 1)) / (n - 1)
        assert curves["induction"][0] == pytest.approx(even, rel=0.05)


def test_two_layers_do_induction_and_one_does_not(record):
    assert record["two_layers"]["induction"][-1] > 0.5
    assert max(record["one_layer"]["induction"]) < 0.1


@pytest.mark.parametrize("name", ["induction", "repeated_loss"])
def test_it_comes_suddenly(record, name):
    """In a fifth of the training at most, and not at its start; one layer goes on slowly."""
    change, curves = record["phase_change"][name], record["two_layers"]
    assert change == pytest.approx(phase_change(curves["step"], curves[name]))
    assert change["share"] <= 0.2
    assert change["from"] > 0
    slow = phase_change(record["one_layer"]["step"], record["one_layer"]["repeated_loss"])
    assert slow["share"] > 0.5


def test_the_text_so_far_helps_two_layers_far_more(record):
    assert record["two_layers"]["in_context"][-1] < 2 * record["one_layer"]["in_context"][-1] < 0
    assert (
        record["two_layers"]["repeated_loss"][-1] < 0.2 * record["one_layer"]["repeated_loss"][-1]
    )


def test_no_loss_is_under_what_can_be_known(record):
    """The words of a list's first saying, one of the rest each, cost this much at the least."""
    unknown = sum(math.log(len(LISTABLE) - t) for t in range(1, FULL.shortest))
    floor = unknown / (FULL.context_length - 1)
    assert min(record["two_layers"]["loss"]) > floor


def test_the_heads_that_do_induction_are_the_ones_to_miss(record):
    """Previous-token heads in the first layer, on which all induction heads of the second rest;
    what is neither does nothing for words said before."""
    found = record["ablation"]
    costs = {
        kind: [found["without"][i][h] - found["intact"] for i, h in heads_of(kind, found)]
        for kind in KINDS
    }
    assert {i for i, _ in heads_of("previous token", found)} == {0}
    assert {i for i, _ in heads_of("induction", found)} == {1}
    assert sum(map(len, costs.values())) == 2 * FULL.n_heads
    assert min(costs["induction"]) > 0.5
    assert min(costs["previous token"]) > max(costs["induction"])
    assert max(costs["neither"]) < 0.05


def test_without_its_induction_heads_two_layers_are_no_better_than_one(record):
    found, one_layer = record["ablation"], record["one_layer"]["repeated_loss"][-1]
    assert found["without_all"]["induction"] > 0.9 * one_layer
    assert found["without_all"]["previous token"] > 0.9 * one_layer
    assert found["without_all"]["neither"] < 0.1 * one_layer
