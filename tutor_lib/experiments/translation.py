"""Does cross-attention find which word means which, though nobody tells it?

Small encoder-decoders, one layer a stack, learn to translate sentences of our own grammar into
a toy language of another word order. The grammar knows which word means which; the models are
never told. Measured on sentences that training never sees: how much they write right, and how
often a head's largest weight, where a word is predicted, is on the word that it means.

Bahdanau et al. 2015, §5.2.1 (arXiv:1409.0473), saw such alignments in translations of French.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from tutor_lib.attention.core import scaled_dot_product_attention
from tutor_lib.attention.multihead import CrossAttention
from tutor_lib.experiments.plot import panels
from tutor_lib.experiments.record import ASSETS
from tutor_lib.experiments.translation_task import IDS, LONGEST, START, STOP, WORDS, Pair, pairs
from tutor_lib.experiments.translation_task import encode as ids_of
from tutor_lib.model.layers import look_at
from tutor_lib.model.pretrained import load_weights, save_weights
from tutor_lib.model.seq2seq import Transformer, TransformerConfig
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler
from tutor_lib.train.loop import train_on
from tutor_lib.train.loss import IGNORED, cross_entropy, shift_right
from tutor_lib.train.trainer import Trainer, TrainingPlan

KEPT = 2  # heads of the translator whose weights are stored, for the book


@dataclass(frozen=True)
class Plan:
    """How much is trained and what is measured."""

    steps: int
    batch: int = 64
    learning_rate: float = 3e-3
    n_heads: tuple[int, ...] = (1, KEPT)
    held_out: int = 1000  # sentences


FULL = Plan(steps=800)
CUT_DOWN = Plan(steps=2, batch=8, held_out=16)


def new_translator(n_heads: int) -> Transformer:
    """The original transformer in small, with random weights."""
    return Transformer(
        TransformerConfig(vocab_size=len(WORDS), context_length=LONGEST, n_layers=1, d_model=32,
                          n_heads=n_heads, d_ff=64)
    )  # fmt: skip


@cache
def trained(plan: Plan, n_heads: int, seed: int) -> Transformer:
    """Train a translator. Its weights are 16-bit numbers, as a file holds them."""
    torch.manual_seed(seed)
    model, rng = new_translator(n_heads), random.Random(seed)

    def loss(source: Tensor, mask: Tensor, target: Tensor) -> Tensor:
        return cross_entropy(model(source, shift_right(target, IDS[START]), mask), target)

    training = TrainingPlan(plan.steps, plan.learning_rate, weight_decay=0.01)
    drawn = (pairs(rng, plan.batch, held_out=False) for _ in range(plan.steps))
    train_on(Trainer(model, loss, training), (batch_of(some)[:3] for some in drawn))
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    return model.eval()


def batch_of(
    some: Sequence[Pair],
) -> tuple[Int[Tensor, "B S"], Bool[Tensor, "B S"], Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Sources, where they are words; targets, and what they mean, `IGNORED` where there is none."""
    source, target, aligned = (
        pad_sequence(rows, batch_first=True, padding_value=IGNORED)
        for rows in (
            [ids_of(pair.source) for pair in some],
            [ids_of(pair.target) for pair in some],
            [torch.tensor(pair.aligned) for pair in some],
        )
    )
    words = source != IGNORED
    return source.masked_fill(~words, IDS[STOP]), words, target, aligned


@torch.no_grad()
def cross_weights(
    model: Transformer,
    source: Int[Tensor, "B S"],
    read: Int[Tensor, "B T"],
    mask: Bool[Tensor, "B S"] | None = None,
) -> Float[Tensor, "L B H T S"]:
    """Each head's weights on the source, at each word that the decoder reads."""
    memory, queries = model.encode(source, mask), []
    layers = [layer for layer in model.decoder.modules() if isinstance(layer, CrossAttention)]
    hooks = [
        layer.q_proj.register_forward_hook(lambda _, __, q: queries.append(q)) for layer in layers
    ]
    try:
        model.decode(read, memory)
    finally:
        for hook in hooks:
            hook.remove()
    split = [q.unflatten(-1, (model.config.n_heads, -1)).transpose(1, 2) for q in queries]
    seen = None if mask is None else look_at(mask, read.size(1))
    return torch.stack([scaled_dot_product_attention(q, k, v, seen)[1]
                        for q, (k, v) in zip(split, memory.layers, strict=True)])  # fmt: skip


def translate(model: Transformer, source: Sequence[str]) -> list[str]:
    """What the model writes for a sentence, up to its full stop.

    Raises ValueError if it does not know a word, or the sentence does not fit.
    """
    written = _write(model, ids_of(source)[None], None)[0].tolist()
    return [WORDS[i] for i in written]


def _write(
    model: Transformer, source: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None
) -> Int[Tensor, "B T"]:
    """Greedy decoding; a row that is over repeats its full stop."""
    start = torch.full((len(source), 1), IDS[START])
    made = generate(model.given(source, mask), start, LONGEST, Sampler(temperature=0.0),
                    stop_token=IDS[STOP])  # fmt: skip
    return torch.stack([*made], dim=1)


def measured(model: Transformer, some: Sequence[Pair]) -> dict[str, Any]:
    """What a translator writes right, and where its heads look; of all words of the targets."""
    source, mask, target, aligned = batch_of(some)
    counted = target != IGNORED
    wrong = counted & (_filled(_write(model, source, mask), target) != target)
    weights = cross_weights(model, source, shift_right(target, IDS[START]), mask)[0]
    found = (weights.argmax(-1) == aligned[:, None]).transpose(0, 1)[:, counted]  # (H, words)
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "words_right": 1 - (wrong.sum() / counted.sum()).item(),
        "sentences_right": 1 - wrong.any(1).double().mean().item(),
        "aligned": found.double().mean(1).tolist(),
        "aligned_by_any": found.any(0).double().mean().item(),
        "chance": (counted.sum(1) / mask.sum(1)).sum().item() / counted.sum().item(),
    }


def _filled(written: Int[Tensor, "B N"], target: Int[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """As many words as the target has: full stops follow what was written."""
    n = target.size(1)
    return functional.pad(written, (0, max(0, n - written.size(1))), value=IDS[STOP])[:, :n]


def run(plan: Plan = FULL, seed: int = 0) -> dict[str, Any]:
    """Train and measure a translator of each number of heads."""
    some = pairs(random.Random(seed + 1), plan.held_out, held_out=True)
    return {str(n): measured(trained(plan, n, seed), some) for n in plan.n_heads}


def keep(plan: Plan, seed: int, path: Path) -> None:
    """Store the translator that the book shows."""
    save_weights(trained(plan, KEPT, seed), path, torch.float16)


def load_translator(path: Path = ASSETS / "translation.safetensors") -> Transformer:
    """The stored translator, ready to translate.

    Raises ValueError if the file does not fit.
    """
    model = new_translator(KEPT)
    load_weights(model, path)
    return model.eval()


def figure(results: dict[str, Any]) -> Figure:
    """How often each head looks at the word that is meant."""
    drawn, axes = panels([f"{n} head{'s' * (n != '1')}" for n in results])
    for panel, found in zip(axes, results.values(), strict=True):
        bars = {f"head {i}": share for i, share in enumerate(found["aligned"])}
        bars["any of them"] = found["aligned_by_any"]
        panel.bar([*bars], [*bars.values()])
        panel.axhline(found["chance"], color="grey", linestyle="--", linewidth=1)
        panel.set(xlabel="who looks", ylabel="at the word that is meant (share)", ylim=(0, 1.05))
    return drawn
