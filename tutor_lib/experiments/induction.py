"""Does a second layer of attention teach a model to go on as it went before, and how suddenly?

Two decoders without FFNs, of one layer and of two, learn the same texts: a list of words drawn at
random, none twice, said over and over. Nothing in the first saying can be foreseen; from the
second on, each word follows from what came after it the last time. That takes an induction head,
which finds the place by what a previous-token head of an earlier layer wrote there; so one layer
must fail (Elhage et al. 2021; Olsson et al. 2022, arXiv:2209.11895). The lists differ in length,
or a head could simply look a fixed number of words back. Random lists rather than whole stories,
so that induction is all there is to learn, and its loss is not mixed with that of grammar.

Positions are RoPE's. Like those of the papers' models they touch queries and keys alone, so what
moves along the residual stream is words; and a base of 100 fits the short context.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from tutor_lib.experiments.plot import COLOURS, panels
from tutor_lib.inside.ablate import with_mean_head
from tutor_lib.inside.induction import (
    in_context_score,
    induction_scores,
    previous_token_scores,
    token_losses,
)
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import ATTENTION_ONLY
from tutor_lib.train.loop import train
from tutor_lib.train.words import LISTABLE

EARLY = 4  # a position in the first saying, whatever the list; the late one is the last

KINDS = {"previous token": COLOURS[2], "induction": COLOURS[3], "neither": "0.7"}  # of heads


@dataclass(frozen=True)
class Plan:
    """The sizes of the models and of their training."""

    steps: int = 1500
    batch: int = 32
    context_length: int = 64
    shortest: int = 8  # words in a list
    longest: int = 24
    d_model: int = 64
    n_heads: int = 4
    learning_rate: float = 3e-3
    measures: int = 50
    held_out: int = 64  # texts


FULL = Plan()
CUT_DOWN = Plan(steps=12, batch=4, d_model=16, n_heads=2, measures=3, held_out=8)


@dataclass(frozen=True)
class HeldOut:
    """What the models are measured on: texts as in training, and long lists, to say twice."""

    texts: Int[Tensor, "B T"]
    words: Int[Tensor, "B N"]


def run(plan: Plan = FULL, seed: int = 0) -> dict[str, Any]:
    """Train both, measuring on the way; then switch off each head of the deeper one."""
    generator = torch.Generator().manual_seed(seed + 1)
    texts = lists(plan, plan.held_out, generator)
    words = lists(replace(plan, shortest=plan.longest), plan.held_out, generator)
    held_out = HeldOut(texts, words[:, : plan.longest])
    (_, one), (model, two) = (_train(n_layers, plan, seed, held_out) for n_layers in (1, 2))
    return {
        "one_layer": one,
        "two_layers": two,
        "phase_change": {
            name: phase_change(two["step"], two[name]) for name in ("induction", "repeated_loss")
        },
        "ablation": ablation(model, plan, held_out),
    }


def lists(plan: Plan, n: int, generator: torch.Generator) -> Int[Tensor, "B T"]:
    """n texts: a list of words, none twice, said again and again."""
    words = torch.rand(n, len(LISTABLE), generator=generator).argsort(dim=1)
    lengths = torch.randint(plan.shortest, plan.longest + 1, (n, 1), generator=generator)
    return words.gather(1, torch.arange(plan.context_length) % lengths)


def phase_change(steps: list[float], curve: list[float]) -> dict[str, float]:
    """From where to where a curve goes from a tenth to nine tenths of its way.

    The steps of the last measure before the one and of the first past the other, and the
    distance as a share of the training.
    """
    way = [(value - curve[0]) / (curve[-1] - curve[0]) for value in curve]
    start = steps[next(i for i, part in enumerate(way) if part >= 0.1) - 1]
    stop = steps[next(i for i, part in enumerate(way) if part >= 0.9)]
    return {"from": start, "to": stop, "share": (stop - start) / steps[-1]}


def ablation(model: Decoder, plan: Plan, held_out: HeldOut) -> dict[str, Any]:
    """The loss on words said before with all heads, without each, and without each kind.

    A head that is off writes its mean, so that what it always adds stays. (Zeros gave the same to a
    twentieth of a nat.) Without a whole kind the model is worse than a guess among all words,
    log V: it was trained to rely on what is now wrong, and is sure of it.
    """

    def loss_without(heads: list[tuple[int, int]]) -> float:
        # Every mean is that of the intact model.
        offs = [with_mean_head(model, layer, head, held_out.texts) for layer, head in heads]
        with ExitStack() as stack:
            for off in offs:
                stack.enter_context(off)
            return _repeated_loss(model, plan, held_out)

    found: dict[str, Any] = {
        "intact": loss_without([]),
        "without": [[loss_without([(i, h)]) for h in range(plan.n_heads)] for i in range(2)],
        "induction_scores": induction_scores(model, held_out.words).tolist(),
        "previous_token_scores": previous_token_scores(model, held_out.texts).tolist(),
    }
    kinds = {kind: heads_of(kind, found) for kind in KINDS}
    return found | {"without_all": {kind: loss_without(kinds[kind]) for kind in KINDS}}


def heads_of(kind: str, found: dict[str, Any]) -> list[tuple[int, int]]:
    """The heads, as (layer, head), that do this."""
    layers = zip(found["induction_scores"], found["previous_token_scores"], strict=True)
    return [
        (layer, head)
        for layer, rows in enumerate(layers)
        for head, scores in enumerate(zip(*rows, strict=True))
        if _kind(*scores) == kind
    ]


def _kind(induction: float, previous_token: float) -> str:
    """Half the weight is where induction looks; a quarter one back, as two heads may share that."""
    if induction > 0.5:
        return "induction"
    return "previous token" if previous_token > 0.25 else "neither"


def figure(results: dict[str, Any]) -> Figure:
    """The loss and the best head's score over training; the loss without each head."""
    drawn, (loss, score, bars) = panels(
        ["Loss on words said before", "Best induction head", "That loss with heads off"]
    )
    for name, label in (("one_layer", "1 layer"), ("two_layers", "2 layers")):
        curves = results[name]
        loss.plot(curves["step"], curves["repeated_loss"], label=label)
        score.plot(curves["step"], curves["induction"], label=label)
    for panel, name in ((loss, "repeated_loss"), (score, "induction")):
        change = results["phase_change"][name]
        panel.axvspan(change["from"], change["to"], color="0.88", label="10–90 % of the change")
        panel.set_xlabel("step")
    loss.set(ylabel="nats a word", ylim=(0, None))
    loss.legend()
    score.set(ylabel="weight on what came next last time", ylim=(0, 1))
    score.legend()
    _draw_bars(bars, results["ablation"], results["one_layer"]["repeated_loss"][-1])
    return drawn


def _draw_bars(panel: Axes, found: dict[str, Any], one_layer: float) -> None:
    """A bar for each head in the colour of what it does, then one for all heads of a kind."""
    heads = [(i, h) for i, layer in enumerate(found["without"]) for h in range(len(layer))]
    for n, (kind, colour) in enumerate(KINDS.items()):
        own = heads_of(kind, found)
        places = [*map(heads.index, own), len(heads) + n]
        losses = [*(found["without"][i][h] for i, h in own), found["without_all"][kind]]
        panel.bar(places, losses, color=colour, label=kind)
    panel.axhline(one_layer, color=COLOURS[0], linestyle="--", label="1 layer")
    panel.axhline(found["intact"], color=COLOURS[1], linestyle="--", label="2 layers, all heads on")
    panel.set(xlabel="switched off: one head (layer.head), or all of a kind", ylabel="nats a word")
    panel.set_xticks(range(len(heads) + len(KINDS)), [f"{i}.{h}" for i, h in heads] + ["all"] * 3)
    panel.legend(fontsize="small")


def _train(
    n_layers: int, plan: Plan, seed: int, held_out: HeldOut
) -> tuple[Decoder, dict[str, list[float]]]:
    torch.manual_seed(seed)
    # d_ff is not used: the family has no FFN.
    sizes = (n_layers, plan.d_model, plan.n_heads, plan.n_heads, plan.d_model)
    model = Decoder(
        DecoderConfig(
            len(LISTABLE), plan.context_length, *sizes, rope_base=100.0, tied=False,
            family=ATTENTION_ONLY,
        )
    )  # fmt: skip
    curves: dict[str, list[float]] = {}
    generator = torch.Generator().manual_seed(seed)
    batches = _measured(model, plan, generator, held_out, curves)
    train(model, batches, plan.steps, plan.learning_rate)
    next(batches)  # the last measure
    return model, curves


def _measured(
    model: Decoder, plan: Plan, generator: torch.Generator, held_out: HeldOut, curves: dict
) -> Iterator[Tensor]:
    """Batches for training; every so often, before one is handed out, the model is measured."""
    for step in range(plan.steps + 1):
        if step % (plan.steps // plan.measures) == 0:
            for name, value in _measures(model, plan, held_out).items():
                curves.setdefault(name, []).append(value)
            curves.setdefault("step", []).append(step)
        yield lists(plan, plan.batch, generator)


def _measures(model: Decoder, plan: Plan, held_out: HeldOut) -> dict[str, float]:
    last = plan.context_length - 1
    return {
        "loss": token_losses(model, held_out.texts).mean().item(),
        "repeated_loss": _repeated_loss(model, plan, held_out),
        "in_context": in_context_score(model, held_out.texts, EARLY, last).item(),
        "induction": induction_scores(model, held_out.words).max().item(),
        "previous_token": previous_token_scores(model, held_out.texts).max().item(),
    }


def _repeated_loss(model: Decoder, plan: Plan, held_out: HeldOut) -> float:
    """The mean loss where even of the longest list a word has been said again."""
    return token_losses(model, held_out.texts)[:, plan.longest :].mean().item()
