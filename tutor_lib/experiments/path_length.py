"""How many steps does one token travel to another, and how much of it arrives?

An RNN, an LSTM and a transformer of equal size read a name and then other words drawn at random,
and must say the name again at the end. In training the end comes after 1 to `longest` words, a
number drawn anew for each batch; nothing is asked before it. All have the same optimiser, steps
and batches; the RNN needs a lower learning rate (see `memory_models`).

In a recurrent network the name reaches the end through every state between: a path of d steps at
distance d, along which the gradient fades (Bengio et al. 1994; Pascanu et al. 2013,
arXiv:1211.5063). Attention has a path of one step to every token: Vaswani et al. 2017, table 1
(arXiv:1706.03762). What is measured at each distance: the share of names said right, and the
norm of the gradient of what is said with respect to the name's vector, before training and after.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from tqdm import tqdm

from tutor_lib.experiments.memory import n_parameters, trained
from tutor_lib.experiments.memory_models import MODELS, Contestant
from tutor_lib.experiments.plot import panels
from tutor_lib.rivals.language_model import LanguageModel
from tutor_lib.train.loss import cross_entropy

NAMES, WORDS = 8, 32  # the names have the ids 0 to 7, the other words those after
CHAIN, DIRECT = ("RNN", "LSTM"), ("transformer",)  # a step a token, or one step to any token


@dataclass(frozen=True)
class Plan:
    """How much is trained and measured. Distances are in tokens."""

    steps: int = 600
    batch: int = 64
    longest: int = 64
    n_said: int = 1024  # texts on which names are counted
    n_slopes: int = 64  # texts over which the gradient is averaged


FULL = Plan()
CUT_DOWN = Plan(steps=2, batch=8, longest=5, n_said=16, n_slopes=4)


def run(plan: Plan = FULL, seed: int = 0) -> dict[str, Any]:
    """Train the three and measure them at each distance."""
    names = (*CHAIN, *DIRECT)
    with tqdm(total=plan.steps * len(names), unit="step", dynamic_ncols=True) as progress:
        models = {name: carrier(MODELS[name], plan, seed, progress) for name in names}
    return {"chance": 1 / NAMES, "distances": [*range(1, plan.longest + 1)], "models": models}


def texts(distance: int, batch: int, draw: torch.Generator) -> Int[Tensor, "B T"]:
    """A name and `distance` other words, each drawn with equal chance."""
    names = torch.randint(NAMES, (batch, 1), generator=draw)
    words = torch.randint(NAMES, NAMES + WORDS, (batch, distance), generator=draw)
    return torch.cat((names, words), dim=1)


def batches(plan: Plan, draw: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless texts that end at any distance up to the longest, and their names."""
    while True:
        distance = int(torch.randint(1, plan.longest + 1, (), generator=draw))
        ids = texts(distance, plan.batch, draw)
        yield ids, ids[:, :1]


def carrier(
    entry: Contestant[LanguageModel], plan: Plan, seed: int, progress: tqdm
) -> dict[str, Any]:
    """Train one network to say the name, and measure it before and after."""
    torch.manual_seed(seed)
    model, draw = entry.make(NAMES + WORDS), torch.Generator().manual_seed(seed)

    def loss(ids: Tensor, names: Tensor) -> Tensor:
        return cross_entropy(model(ids)[:, -1:], names)

    # Other numbers than those of training, and the same for all models.
    held_out = torch.Generator().manual_seed(seed + 1)
    said, slopes = (texts(plan.longest, n, held_out) for n in (plan.n_said, plan.n_slopes))
    before = signal(model, slopes).tolist()
    losses = trained(model, loss, batches(plan, draw), plan.steps, entry.learning_rate, progress)
    return {
        "parameters": n_parameters(model),
        "learning_rate": entry.learning_rate,
        "last_loss": sum(losses[-50:]) / len(losses[-50:]),
        "right": right(model, said).tolist(),
        "signal": {"before": before, "after": signal(model, slopes).tolist()},
    }


@torch.no_grad()
def right(model: LanguageModel, ids: Int[Tensor, "B T"]) -> Float[Tensor, "D"]:
    """The share of texts whose name comes out, were they to end at distance 1, 2, …"""
    return (model(ids).argmax(-1) == ids[:, :1]).double().mean(0)[1:]


@torch.no_grad()
def signal(model: LanguageModel, ids: Int[Tensor, "B T"]) -> Float[Tensor, "D"]:
    """How strongly what is said at distance 1, 2, … depends on the name.

    ‖∂logits/∂embedding‖: the Frobenius norm, mean over the texts. `signal_left` goes back from
    one output to all inputs; here forward-mode differentiation goes on from one input to all
    outputs, in one pass.
    """
    vectors = model.embedding(ids)  # (B, T, C)

    def outputs(change: Float[Tensor, "C"]) -> Float[Tensor, "B D V"]:
        x = torch.cat((vectors[:, :1] + change, vectors[:, 1:]), dim=1)
        with model.embedding.register_forward_hook(lambda *_: x):
            return model(ids)[:, 1:]

    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel knows no forward mode
        slopes = torch.func.jacfwd(outputs)(vectors.new_zeros(vectors.size(-1)))
    return slopes.square().sum((-1, -2)).sqrt().mean(0)


def relative(signals: list[float]) -> list[float]:
    """Each as a share of the first, that at distance 1."""
    return [value / signals[0] for value in signals]


def figure(results: dict[str, Any]) -> Figure:
    """The signal before and after training, and the names said right."""
    drawn, (before, after, said) = panels(
        ["Signal left before training", "Signal left after training", "Names said right"]
    )
    for name, found in results["models"].items():
        for panel, when in ((before, "before"), (after, "after")):
            panel.plot(results["distances"], relative(found["signal"][when]), label=name)
        said.plot(results["distances"], found["right"], label=name)
    for panel in (before, after):
        panel.set(ylabel="‖∂logits/∂x‖ relative to d = 1", yscale="log")
    said.axhline(results["chance"], color="grey", linewidth=1, linestyle="--")
    said.set(ylabel="share of texts", ylim=(0, 1.05))
    for panel in (before, after, said):
        panel.set_xlabel("distance d (tokens)")
        panel.legend(fontsize="small")
    return drawn
