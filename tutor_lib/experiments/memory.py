"""How far back, and how much, can each kind of network remember?

Five language models of equal size learn to copy: a few random symbols, then a gap of blanks,
then a mark, after which the symbols must be given back in order: the copying problem of
Arjovsky et al. 2016 (arXiv:1511.06464), after Hochreiter and Schmidhuber 1997. In training
both the number of symbols and the gap are drawn anew for each batch, up to a largest one;
measured is beyond, too. All have the same optimiser, steps and batches; the RNN needs a lower
learning rate. They learn from the true symbols (teacher forcing), and are measured on what they
write after the mark by themselves.

A transformer keeps every token, and yet falls behind beyond the gaps it was trained on. RoPE's
distances that no weight has ever seen are one likely reason (Press et al. 2021,
arXiv:2108.12409), ever more blanks to share the weights with another. With more symbols than in
training the fixed states fail first. Room alone does not explain it: Mamba-2's state is
many times the LSTM's, and holds hardly more.

And two encoder-decoders of equal size learn to write a text backwards: one through a single
vector, one with attention to the whole source.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

from tutor_lib.experiments.memory_models import MODELS, REVERSERS, Contestant
from tutor_lib.experiments.plot import COLOURS, panels
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler
from tutor_lib.rivals.language_model import LanguageModel, state_bytes
from tutor_lib.rivals.past import signal_left
from tutor_lib.rivals.seq2seq import RNNSeq2Seq
from tutor_lib.train.loss import cross_entropy
from tutor_lib.train.trainer import Trainer, TrainingPlan

BLANK, MARK, SYMBOLS = 0, 1, 8  # the symbols have the ids 2 to 9
VOCABULARY = 2 + SYMBOLS


@dataclass(frozen=True)
class Plan:
    """How much is trained and what is measured. Lengths are in tokens."""

    steps: int
    reversal_steps: int
    batch: int = 64
    n_symbols: int = 6  # at most, in training
    gap: int = 32  # likewise
    gaps: tuple[int, ...] = (0, 2, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128)
    numbers: tuple[int, ...] = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12)
    reversal: int = 16  # the longest text to reverse in training
    lengths: tuple[int, ...] = (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24)
    n_measured: int = 128  # texts a measurement


FULL = Plan(steps=1200, reversal_steps=1200)
CUT_DOWN = Plan(
    steps=2, reversal_steps=2, batch=8, gaps=(0, 8), numbers=(1, 2), lengths=(1, 3), n_measured=16
)


def copying(
    n_symbols: int, gap: int, batch: int, draw: torch.Generator
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B N"]]:
    """Texts to read, and the N symbols to be written from the mark on.

    What is read after the mark are the symbols again, all but the last: teacher forcing.
    """
    symbols = random_symbols(n_symbols, batch, draw)
    blanks, mark = torch.full((batch, gap), BLANK), torch.full((batch, 1), MARK)
    return torch.cat((symbols, blanks, mark, symbols[:, :-1]), dim=1), symbols


def random_symbols(n: int, batch: int, draw: torch.Generator) -> Int[Tensor, "B N"]:
    """Any symbol with equal chance."""
    return torch.randint(2, VOCABULARY, (batch, n), generator=draw)


def batches(plan: Plan, draw: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless copying tasks: 1 to `n_symbols` symbols, a gap of 0 to `gap`."""
    while True:
        n, gap = _up_to(plan.n_symbols, draw), _up_to(plan.gap + 1, draw) - 1
        yield copying(n, gap, plan.batch, draw)


def reversals(plan: Plan, draw: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless texts of 1 to `reversal` symbols, and the same from back to front."""
    while True:
        source = random_symbols(_up_to(plan.reversal, draw), plan.batch, draw)
        yield source, source.flip(1)


def _up_to(largest: int, draw: torch.Generator) -> int:
    return int(torch.randint(1, largest + 1, (), generator=draw))


def run(plan: Plan = FULL, seed: int = 0) -> dict[str, Any]:
    """Train and measure all seven."""
    total = plan.steps * len(MODELS) + plan.reversal_steps * len(REVERSERS)
    with tqdm(total=total, unit="step", dynamic_ncols=True) as progress:
        copiers = {name: copier(entry, plan, seed, progress) for name, entry in MODELS.items()}
        reversers = {
            name: reverser(entry, plan, seed, progress) for name, entry in REVERSERS.items()
        }
    return {
        "chance": 1 / SYMBOLS,
        "trained_gap": plan.gap,
        "trained_symbols": plan.n_symbols,
        "trained_length": plan.reversal,
        "gaps": plan.gaps,
        "numbers": plan.numbers,
        "lengths": plan.lengths,
        "copying": copiers,
        "reversing": reversers,
    }


def copier(
    entry: Contestant[LanguageModel], plan: Plan, seed: int, progress: tqdm
) -> dict[str, Any]:
    """Train one language model to copy, and measure what it remembers."""
    torch.manual_seed(seed)
    model, draw = entry.make(VOCABULARY), torch.Generator().manual_seed(seed)

    def loss(ids: Tensor, symbols: Tensor) -> Tensor:
        return cross_entropy(model(ids)[:, -symbols.size(1) :], symbols)

    before = [signal(model, d, draw) for d in plan.gaps]
    tasks, rate = batches(plan, draw), entry.learning_rate
    losses = trained(model, loss, tasks, plan.steps, rate, progress)
    draw.manual_seed(seed + 1)
    middle = plan.gap // 2
    return {
        "parameters": n_parameters(model),
        "learning_rate": rate,
        "state_bytes": state_after(model, plan, draw),
        "last_loss": sum(losses[-50:]) / len(losses[-50:]),
        "by_gap": [recalled(model, plan.n_symbols, d, plan, draw) for d in plan.gaps],
        "by_number": [recalled(model, n, middle, plan, draw) for n in plan.numbers],
        "signal": {"before": before, "after": [signal(model, d, draw) for d in plan.gaps]},
    }


def reverser(
    entry: Contestant[RNNSeq2Seq], plan: Plan, seed: int, progress: tqdm
) -> dict[str, Any]:
    """Train one encoder-decoder to write backwards, and measure it on longer and longer texts."""
    torch.manual_seed(seed)
    model, draw = entry.make(VOCABULARY), torch.Generator().manual_seed(seed)

    def loss(source: Tensor, target: Tensor) -> Tensor:
        start = torch.full((len(source), 1), MARK)
        return cross_entropy(model(source, torch.cat((start, target[:, :-1]), dim=1)), target)

    tasks, rate = reversals(plan, draw), entry.learning_rate
    losses = trained(model, loss, tasks, plan.reversal_steps, rate, progress)
    draw.manual_seed(seed + 1)
    return {
        "parameters": n_parameters(model),
        "learning_rate": rate,
        "last_loss": sum(losses[-50:]) / len(losses[-50:]),
        "by_length": [reversed_share(model, n, plan.n_measured, draw) for n in plan.lengths],
    }


def trained(
    model: nn.Module,
    loss: Callable[..., Tensor],
    tasks: Iterator[tuple[Tensor, Tensor]],
    steps: int,
    learning_rate: float,
    progress: tqdm,
) -> list[float]:
    """Train a model; return the loss of each step, in nats a symbol."""
    trainer = Trainer(model, loss, TrainingPlan(steps, learning_rate, weight_decay=0.0))
    for _ in range(steps):
        trainer.step(next(tasks))
        progress.update()
    return trainer.losses


def n_parameters(model: nn.Module) -> int:
    """How many numbers are learned."""
    return sum(p.numel() for p in model.parameters())


@torch.no_grad()
def state_after(model: LanguageModel, plan: Plan, draw: torch.Generator) -> int:
    """How many bytes a model keeps of the longest text it was trained on."""
    caches = model.new_caches(1)
    model(copying(plan.n_symbols, plan.gap, 1, draw)[0], caches)
    return state_bytes(caches)


@torch.no_grad()
def recalled(
    model: LanguageModel, n_symbols: int, gap: int, plan: Plan, draw: torch.Generator
) -> float:
    """The share of symbols given back right, when the model reads what it has written itself."""
    ids, symbols = copying(n_symbols, gap, plan.n_measured, draw)
    prompt = ids[:, : n_symbols + gap + 1]  # up to the mark
    made = [*generate(model, prompt, n_symbols, Sampler(temperature=0.0))]
    return share(torch.stack(made, dim=1), symbols)


def reversed_share(model: RNNSeq2Seq, length: int, batch: int, draw: torch.Generator) -> float:
    """The share of symbols written right, when the model reads what it has written itself."""
    source = random_symbols(length, batch, draw)
    start = torch.full((batch, 1), MARK)
    made = [*generate(model.given(source), start, length, Sampler(temperature=0.0))]
    return share(torch.stack(made, dim=1), source.flip(1))


def share(made: Int[Tensor, "B N"], wanted: Int[Tensor, "B N"]) -> float:
    """How many of the symbols are right, of all."""
    return (made == wanted).double().mean().item()


def signal(model: LanguageModel, gap: int, draw: torch.Generator) -> float:
    """How strongly the logits at the mark depend on the symbol before the gap.

    ‖∂logits/∂embedding‖, with one symbol to remember; the mark is gap + 1 tokens after it.
    """
    ids, _ = copying(1, gap, 16, draw)

    def on_vectors(x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        with model.embedding.register_forward_hook(lambda *_: x):
            return model(ids)

    return signal_left(on_vectors, model.embedding(ids))[gap + 1].item()


def figure(results: dict[str, Any]) -> Figure:
    """Recall against the gap and the number of symbols, the signal left, and reversing."""
    drawn, (far, much, left, back) = panels(
        [f"{results['trained_symbols']} symbols copied after a gap",
         f"Symbols copied after a gap of {results['trained_gap'] // 2}",
         "Signal left of one symbol", "A text written backwards"]
    )  # fmt: skip
    distances = [gap + 1 for gap in results["gaps"]]
    for colour, (name, found) in zip(COLOURS, results["copying"].items(), strict=False):
        far.plot(results["gaps"], found["by_gap"], marker=".", label=name)
        much.plot(results["numbers"], found["by_number"], marker=".", label=name)
        for when, style in (("before", ":"), ("after", "-")):
            relative = [value / found["signal"][when][0] for value in found["signal"][when]]
            left.plot(distances, relative, style, color=colour)
    for name, found in results["reversing"].items():
        back.plot(results["lengths"], found["by_length"], marker=".", label=name)
    _accuracy(far, results["trained_gap"], results["chance"], "gap (tokens)")
    _accuracy(much, results["trained_symbols"], results["chance"], "symbols to copy")
    _accuracy(back, results["trained_length"], results["chance"], "length (tokens)")
    left.set(xlabel="distance n (tokens)", ylabel="‖∂logits/∂x‖ relative to n = 1", yscale="log")
    for when, style in (("before", ":"), ("after", "-")):
        left.plot([], [], style, color="grey", label=f"{when} training")
    left.set_ylim(bottom=1e-8)
    left.legend(fontsize="small")
    left.axvline(results["trained_gap"] + 1, color="grey", linestyle=":")
    much.legend(fontsize="small", loc="lower left", framealpha=1)
    back.legend(fontsize="small", loc="center left")
    return drawn


def _accuracy(panel: Axes, trained_to: int, chance: float, xlabel: str) -> None:
    panel.axvline(trained_to, color="grey", linestyle=":")
    panel.text(trained_to, 1.03, " trained up to here", color="grey", fontsize="x-small")
    panel.axhline(chance, color="grey", linewidth=1, linestyle="--")
    panel.text(panel.get_xlim()[1], chance, "chance", color="grey", ha="right", va="bottom", size=8)
    panel.set(xlabel=xlabel, ylabel="symbols right (share)", ylim=(0, 1.1))
