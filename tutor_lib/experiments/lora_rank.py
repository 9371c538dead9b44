"""How much rank does a new style need, and what do four bits cost?

The storyteller learns to tell its stories as a pirate would: with LoRA on every linear layer of
its blocks, at several ranks, and whole. Then again on a base in NF4 (QLoRA). Held-out loss in
the new style tells what it learned, that on the old stories what it forgot.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn

from tutor_lib.adapt.lora import inject_lora, trainable_fraction
from tutor_lib.adapt.qlora import NF4Linear, bits_per_parameter, quantize_model
from tutor_lib.experiments.plot import panels
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.corpus import corpus
from tutor_lib.train.loop import held_out_loss, random_windows, train
from tutor_lib.train.storyteller import load_storyteller

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Plan:
    """What is trained, and for how long."""

    ranks: tuple[int, ...] = (1, 2, 4, 8, 16)
    quantized_rank: int = 8  # one of them: that of QLoRA
    steps: int = 200
    batch: int = 8
    length: int = 128
    documents: int = 3000
    held_out_documents: int = 100
    alpha: float = 16.0
    learning_rate: float = 1e-2
    whole_learning_rate: float = 2e-3  # of all weights: they are far more


FULL = Plan()
CUT_DOWN = Plan(ranks=(1, 8), steps=10, batch=4, documents=100, held_out_documents=10)

# From left to right: a whole word or phrase, and what a pirate says.
PIRATE = {
    "Once upon a time there was": "Ahoy! On the seven seas there sailed",
    "One day": "One stormy night",
    "In the end": "By my beard,",
    "were friends for ever": "were shipmates for ever",
    "went to sleep": "snored in a hammock",
    "went to bed": "crawled below deck",
    "began to sing": "sang a shanty",
    "said": "roared",
    "thanked": "saluted",
    "gave": "tossed",
    "found": "plundered",
    "liked": "fancied",
    "lived": "dropped anchor",
    "so": "and so, arr,",
    "but": "but, blimey,",
    "is": "be",
    "are": "be",
    "glad": "full of rum",
    "happy": "full of rum",
    "forest": "jungle",
    "garden": "lagoon",
    "kitchen": "galley",
    "village": "harbour",
    "field": "deck",
    "barn": "hold",
}
PHRASES = re.compile("|".join(rf"\b{re.escape(phrase)}\b" for phrase in PIRATE))


def pirate(text: str) -> str:
    """The same stories in a pirate's words; every sentence ends in "arr!"."""
    told = PHRASES.sub(lambda found: PIRATE[found.group()], text)
    return re.sub(r"\.(?= |<)", ", arr!", told)


def run(plan: Plan = FULL, seed: int = 0) -> dict[str, Any]:
    """Losses in nats a token, by rank and by bits; shares of trainable numbers.

    Two references have no LoRA: all weights are trained, or all but the embedding's, which
    LoRA leaves alone too.
    """
    study = Study(plan, seed)
    before = study.losses(study.base())
    by_rank = [{"rank": rank} | study.trained(study.with_lora(rank)) for rank in plan.ranks]
    rate = plan.whole_learning_rate
    full = {"kind": "float32", "bits": 32.0, "model_bits": 32.0, "untrained": before}
    full |= by_rank[plan.ranks.index(plan.quantized_rank)]
    return {
        "before": before,
        "by_rank": by_rank,
        "whole": study.trained(lambda model: model, rate),
        "blocks": study.trained(freeze_embedding, rate),
        "by_bits": [full, study.quantized("NF4", False), study.quantized("NF4, double", True)],
    }


def freeze_embedding(model: Decoder) -> Decoder:
    """Train what lies between the embedding and the unembedding, which is its transpose."""
    model.embedding.requires_grad_(False)
    return model


class Study:
    """The texts, and what is measured on them."""

    def __init__(self, plan: Plan, seed: int) -> None:
        self.plan, self.seed = plan, seed
        tokenizer = load_storyteller()[1]

        def tokens(text: str) -> Int[Tensor, "N"]:
            return torch.tensor(tokenizer.encode(text))

        held_out = corpus(seed, plan.held_out_documents, held_out=True)
        self.training = tokens(pirate(corpus(seed, plan.documents)))
        self.new, self.old = tokens(pirate(held_out)), tokens(held_out)

    def base(self) -> Decoder:
        """The storyteller as it was."""
        return load_storyteller()[0]

    def with_lora(self, rank: int) -> Callable[[Decoder], nn.Module]:
        """What adds LoRA of this rank to a model."""
        return lambda model: inject_lora(model, LINEAR, rank, self.plan.alpha)

    def losses(self, model: nn.Module) -> dict[str, float]:
        """Held-out, in nats a token: in the new style, and on the old stories."""
        return {
            "new": held_out_loss(model.eval(), self.new, self.plan.length),
            "old": held_out_loss(model, self.old, self.plan.length),
        }

    def trained(
        self, prepare: Callable[[Decoder], nn.Module], rate: float | None = None
    ) -> dict[str, Any]:
        """What the storyteller comes to, prepared and then trained."""
        plan = self.plan
        torch.manual_seed(self.seed)
        model = prepare(self.base()).train()
        order = torch.Generator().manual_seed(self.seed)
        batches = random_windows(self.training, plan.batch, plan.length, order)
        train(model, batches, plan.steps, rate or plan.learning_rate, weight_decay=0.0)
        return {"share": trainable_fraction(model)} | self.losses(model)

    def quantized(self, kind: str, double: bool) -> dict[str, Any]:
        """The same on a base whose linear layers are in NF4, before and after training."""
        rank = self.plan.quantized_rank
        base, add = self.base(), self.with_lora(rank)
        quantize_model(base, LINEAR, double)
        layers = [m.quantized for m in base.modules() if isinstance(m, NF4Linear)]
        bits = sum(q.bits_per_parameter * q.shape.numel() for q in layers)
        found = {
            "kind": kind,
            "bits": bits / sum(q.shape.numel() for q in layers),
            "model_bits": bits_per_parameter(base),
            "untrained": self.losses(base),
            "rank": rank,
        }

        def prepare(model: Decoder) -> nn.Module:
            quantize_model(model, LINEAR, double)
            return add(model)

        return found | self.trained(prepare)


def figure(results: dict[str, Any]) -> Figure:
    """Loss against rank, and against bits."""
    made, axes = panels(
        ["A new style, learned with few numbers", "The same on a base in four bits"]
    )
    draw_ranks(axes[0], results)
    draw_bits(axes[1], results["by_bits"])
    return made


REFERENCES = (("blocks", "all but the embedding", "--"), ("whole", "all weights", ":"))


def draw_ranks(panel: Axes, results: dict[str, Any]) -> None:
    """Both losses by rank; dotted and dashed, where training without LoRA ends."""
    found = results["by_rank"]
    ranks = [row["rank"] for row in found]
    for key, label in (("new", "new style"), ("old", "old stories")):
        (line,) = panel.plot(ranks, [row[key] for row in found], "o-", label=f"{label}, LoRA")
        for reference, told, dashes in REFERENCES:
            panel.axhline(
                results[reference][key], ls=dashes, color=line.get_color(), lw=1.2, label=told
            )
    panel.set_xscale("log", base=2)
    panel.set_xticks(ranks, [f"{row['rank']}\n{row['share']:.1%}" for row in found])
    panel.set_xlabel("rank R, and share of the numbers that are trained")
    panel.set_ylabel("held-out loss (nats a token)")
    panel.set_ylim(0)
    panel.legend(fontsize="x-small", ncols=2, loc="lower center")


def draw_bits(panel: Axes, found: list[dict[str, Any]]) -> None:
    """Loss by storage of the base: the new style after training, the old stories before."""
    places = range(len(found))
    new, old = [row["new"] for row in found], [row["untrained"]["old"] for row in found]
    panel.plot(places, new, "o", label=f"new style, trained with R = {found[0]['rank']}")
    panel.plot(places, old, "s", label="old stories, before training")
    names = [f"{row['kind']}\n{row['bits']:.2f} ({row['model_bits']:.1f})" for row in found]
    panel.set_xticks(places, names)
    panel.set_xlabel("bits a number in the matrices (in the whole model)")
    panel.set_ylabel("held-out loss (nats a token)")
    panel.margins(x=0.2, y=0.4)
    panel.legend(fontsize="x-small", loc="center")
