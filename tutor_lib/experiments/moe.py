"""At equal operations a token, does a mixture of experts learn more than a dense model?

And what is left of it at equal time? In the one decoder each layer has one FFN, in the other
twelve, of which each token uses two; the dense FFN is a little wider, by what the router costs.
Both read the same batches in the same order, in turns of a few steps, and seconds are of processor
time, so that whatever else the machine does slows both alike or neither. A second mixture is
trained without the loss that balances its experts (Switch, eq. 4: arXiv:2101.03961); where all
words come equally often, as here, that loss has little to do.

What they learn is a table: for every pair of words a third one, drawn at random. Nothing can be
deduced, all must be remembered, and room for that is what more parameters give. On the
storyteller's stories, whose small grammar leaves little to be remembered, a mixture of this kind
gained nothing. The rate falls with the steps, so a dense model given the mixture's time would do
somewhat better than its curve's end.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from tutor_lib.experiments.plot import COLOURS, panels
from tutor_lib.ffn.moe import MixtureOfExperts, load_balancing_loss
from tutor_lib.model.config import DecoderConfig, ExpertSizes
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.zoo import count_parameters, flops_per_token
from tutor_lib.train.loss import cross_entropy, next_tokens
from tutor_lib.train.trainer import Batch, LossFunction, Trainer, TrainingPlan

NAMES = {"dense": "dense", "moe": "mixture", "unbalanced": "mixture, not balanced"}


@dataclass(frozen=True)
class Plan:
    """The sizes of the models and of their training."""

    steps: int = 1500
    turn: int = 10  # steps of one model before the next has its turn
    measures: int = 30
    batch: int = 32
    n_words: int = 40  # V; the table has V² entries
    facts: int = 16  # entries in a text
    held_out: int = 256  # texts to measure on
    n_layers: int = 2
    d_model: int = 32  # C
    n_experts: int = 12  # E, a multiple of 3
    n_active: int = 2
    d_expert: int = 8
    balance: float = 0.01  # of the balancing loss
    learning_rate: float = 1e-2

    @property
    def context_length(self) -> int:
        """A fact is three words."""
        return 3 * self.facts


FULL = Plan()
CUT_DOWN = Plan(30, 5, 3, 8, 11, 5, 16, n_experts=6)


def configs(plan: Plan) -> tuple[DecoderConfig, DecoderConfig]:
    """The dense decoder and the mixture.

    A router has E C weights; E / 3 more hidden numbers give the dense FFN's three matrices as
    many.

    Raises ValueError if 3 does not divide E.
    """
    if plan.n_experts % 3:
        raise ValueError(f"the number of experts must be a multiple of 3, got {plan.n_experts}")
    dense = DecoderConfig(
        plan.n_words, plan.context_length, plan.n_layers, plan.d_model, 1, 1,
        plan.n_active * plan.d_expert + plan.n_experts // 3, rope_base=100.0,
    )  # fmt: skip
    return dense, replace(dense, experts=ExpertSizes(plan.n_experts, plan.n_active, plan.d_expert))


def run(plan: Plan = FULL, seed: int = 0) -> dict[str, Any]:
    """Train the three in turns, measuring on the way."""
    generator = torch.Generator().manual_seed(seed)
    table = torch.randint(plan.n_words, (plan.n_words, plan.n_words), generator=generator)
    held_out = next(texts(table, plan.held_out, plan.facts, generator))
    batches = [*islice(texts(table, plan.batch, plan.facts, generator), plan.steps)]
    dense, mixture = configs(plan)
    trainers = {
        "dense": trainer(dense, plan, 0.0, seed),
        "moe": trainer(mixture, plan, plan.balance, seed),
        "unbalanced": trainer(mixture, plan, 0.0, seed),
    }
    return {
        "flops_per_token": [flops_per_token(c, plan.context_length) for c in (dense, mixture)],
        "parameters": [count_parameters(c).total for c in (dense, mixture)],
        "curves": train_in_turns(trainers, batches, held_out, plan),
        "load": {name: loads(trainers[name].model, held_out) for name in ("moe", "unbalanced")},
    }


def texts(
    table: Int[Tensor, "V V"], batch: int, facts: int, generator: torch.Generator
) -> Iterator[tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]]:
    """Endless batches: facts one after the other, two words and the table's third.

    The targets are the third words alone; the others are drawn anew and cannot be foreseen.
    """
    is_answer = (torch.arange(3 * facts) % 3 == 2).expand(batch, -1)
    while True:
        pairs = torch.randint(len(table), (batch, facts, 2), generator=generator)
        answers = table[pairs[..., 0], pairs[..., 1]]
        ids = torch.cat([pairs, answers.unsqueeze(-1)], dim=-1).flatten(1)
        yield ids, next_tokens(ids, is_answer)


def trainer(config: DecoderConfig, plan: Plan, balance: float, seed: int) -> Trainer:
    """A fresh model on its way to `plan.steps`."""
    torch.manual_seed(seed)
    model = Decoder(config)
    return Trainer(
        model, balanced_loss(model, balance), TrainingPlan(plan.steps, plan.learning_rate)
    )


def balanced_loss(model: Decoder, balance: float) -> LossFunction:
    """The loss of the answers, and a share of every layer's balancing loss, if there is one."""

    def loss_of(ids: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
        loss = cross_entropy(model(ids), targets)
        for layer in mixtures(model) if balance else ():
            assert layer.routing is not None
            loss = loss + balance * load_balancing_loss(layer.routing)
        return loss

    return loss_of


def mixtures(model: torch.nn.Module) -> list[MixtureOfExperts]:
    """The layers' mixtures, in their order."""
    return [module for module in model.modules() if isinstance(module, MixtureOfExperts)]


def train_in_turns(
    trainers: dict[str, Trainer], batches: Sequence[Batch], held_out: Batch, plan: Plan
) -> dict[str, dict[str, list[float]]]:
    """Each model's loss on other texts, by step and by the seconds that its own steps took."""
    seconds = dict.fromkeys(trainers, 0.0)
    curves: dict[str, dict[str, list[float]]] = {
        name: {"step": [], "seconds": [], "loss": []} for name in trainers
    }
    every = max(plan.turn, plan.steps // plan.measures)
    for first in tqdm(range(0, plan.steps, plan.turn), unit="turn"):
        stop = min(first + plan.turn, plan.steps)
        for name, one in trainers.items():
            seconds[name] += _timed(one, batches[first:stop])
            if stop // every > first // every or stop == plan.steps:
                curve = curves[name]
                curve["step"].append(stop)
                curve["seconds"].append(seconds[name])
                curve["loss"].append(answer_loss(one.model, held_out))
    return curves


def _timed(one: Trainer, batches: Sequence[Batch]) -> float:
    began = time.process_time()
    for batch in batches:
        one.step(batch)
    return time.process_time() - began


@torch.no_grad()
def answer_loss(model: torch.nn.Module, held_out: Batch) -> float:
    """The mean loss of the answers, in nats each."""
    ids, targets = held_out
    return cross_entropy(model(ids), targets).item()


@torch.no_grad()
def loads(model: torch.nn.Module, held_out: Batch) -> list[list[float]]:
    """The share of the tokens' choices that each expert of each layer gets, largest first."""
    model(held_out[0])
    counts = torch.stack([layer.routing.load for layer in mixtures(model) if layer.routing])
    return (counts / counts.sum(1, keepdim=True)).sort(descending=True).values.tolist()


def figure(results: dict[str, Any]) -> Figure:
    """Loss by step, loss by second, and how evenly the experts are used."""
    drawn, (by_step, by_second, load) = panels(
        ["Same operations", "Same time", "Load of the experts"]
    )
    for panel, x in ((by_step, "step"), (by_second, "seconds")):
        _draw_curves(panel, results["curves"], x)
    by_step.set(xlabel="step, equal operations in all")
    by_second.set(xlabel="seconds of processor time, training")
    _draw_load(load, results["load"])
    return drawn


def _draw_curves(panel: Axes, curves: dict[str, Any], x: str) -> None:
    for name, label in NAMES.items():
        panel.plot(curves[name][x], curves[name]["loss"], label=label)
    panel.set(ylabel="nats an answer, in other texts", ylim=(0, None))
    panel.legend(fontsize="small")


def _draw_load(panel: Axes, load: dict[str, list[list[float]]]) -> None:
    """A line a layer, the mean of a layer's experts dotted."""
    for (name, layers), colour in zip(load.items(), COLOURS[1:], strict=False):
        for i, (shares, style) in enumerate(zip(layers, ("o-", "s--", "^:"), strict=False)):
            ranks = range(1, len(shares) + 1)
            panel.plot(ranks, shares, style, color=colour, label=f"{NAMES[name]}, layer {i + 1}")
    panel.axhline(1 / len(next(iter(load.values()))[0]), color="0.5", linestyle=":", label="even")
    panel.set(xlabel="expert, most used first", ylabel="share of the tokens' choices")
    panel.set(ylim=(0, None))
    panel.legend(fontsize="small")
