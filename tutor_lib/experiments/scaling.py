"""How does the loss fall as models and data grow, and is it by the papers' exponents?

Six decoders, from 10³ to 10⁶ parameters without embeddings (Kaplan's N), learn the storyteller's
stories, each from two seeds. Each is trained to several lengths D, every one a run of its own: a
trapezoid schedule whose rate has fallen to 0 by its end. Runs of one model share their way until
their decay begins, as in Hägele et al. 2024 (arXiv:2405.18392): what is stored of a run of D
tokens is, bit for bit, what a run planned for D tokens alone would give. A loss read off in
mid-course would be none of these. The learning rate of each width was set after trials: the peak
falls as C^-¾.

Three laws are fitted (`tutor_lib.train.scaling`): L(N) at one D without a floor and with one,
and L(N, D). The text comes from a small grammar, and what a model of this length of training can
say of it without copying names or knowing what "it" refers to has a floor, which is near: what is
over it vanishes much faster than in the papers' text of the whole web. Longer training of the
wider models is left out. There those two skills come suddenly, to one seed earlier than to
another, and single runs jump by a tenth of a nat, which no power law tells. The storyteller, with
ten times the tokens, has both, so that its loss lies under the floor. L(N, D) fits less well than
L(N): at so few steps, a wider model also learns faster, which its sum of two terms cannot say.
Narrow models scatter too, and β is hardly determined: its interval begins at 0. The intervals
take runs as independent; those that share a way are not quite.
"""

import copy
import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from torch import Tensor, nn
from tqdm import tqdm

from tutor_lib.experiments.plot import COLOURS, panels
from tutor_lib.experiments.stories import story_tokens
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.confidence import Interval, delta_band, delta_intervals
from tutor_lib.train.loop import held_out_loss, loss_function, random_windows
from tutor_lib.train.scaling import ScalingLaw, Sizes, fit_law
from tutor_lib.train.schedule import decay_steps, warmup_stable_decay
from tutor_lib.train.storyteller import load_storyteller
from tutor_lib.train.trainer import Trainer, TrainingPlan

DECAY = 0.2  # of each run
PAPERS = {
    "Kaplan et al. 2020, eq. 1.1: α of N": 0.076,  # arXiv:2001.08361
    "Hoffmann et al. 2022: α of N": 0.34,  # arXiv:2203.15556
    "Hoffmann et al. 2022: β of D": 0.28,
}


@dataclass(frozen=True)
class Plan:
    """The sizes of the models, and how long each is trained."""

    widths: tuple[int, ...] = (8, 16, 32, 64, 128, 256)  # C
    longest: tuple[int, ...] = (1024, 1024, 1024, 512, 256, 256)  # steps of each width
    lengths: tuple[int, ...] = (128, 256, 512, 1024)  # the steps of a run
    seeds: int = 2  # runs of each size and length
    n_layers: int = 2
    context_length: int = 64
    batch: int = 16
    warmup: int = 16
    learning_rate: float = 0.03  # the peak at the first width
    documents: int = 80_000
    held_out_documents: int = 1000


FULL = Plan()
CUT_DOWN = Plan((4, 8, 16, 24), (64, 64, 64, 32), (16, 32, 64), 1, 1, 32, 8, 4, 0.03, 500, 20)


def run(plan: Plan = FULL, seed: int = 0) -> dict[str, Any]:
    """Train every size to every length; fit the laws."""
    tokens = story_tokens(seed, plan.documents)
    held_out = story_tokens(seed, plan.held_out_documents, held_out=True)
    runs = []
    for number in range(seed, seed + plan.seeds):
        drawn = random_windows(
            tokens, plan.batch, plan.context_length, torch.Generator().manual_seed(number)
        )
        windows = [*islice(drawn, max(plan.longest))]
        runs += train_all(plan, number, windows, held_out)
    storyteller, _ = load_storyteller()
    return {
        "runs": runs,
        "fits": fits(runs),
        "papers": PAPERS,
        "storyteller": held_out_loss(storyteller, held_out, plan.context_length),
    }


def train_all(
    plan: Plan, seed: int, windows: list[Int[Tensor, "B T"]], held_out: Int[Tensor, "N"]
) -> list[dict[str, float]]:
    """N, D and the held-out loss of every size and length, from one seed."""
    runs = []
    for width, longest in zip(plan.widths, plan.longest, strict=True):
        torch.manual_seed(seed)
        model = Decoder(config(width, plan))
        whole = training_plan(width, longest, plan)
        for steps, trained in train_to_lengths(model, whole, windows, plan.lengths):
            runs.append(
                {
                    "parameters": non_embedding_parameters(model),
                    "tokens": steps * windows[0].numel(),
                    "loss": held_out_loss(trained, held_out, plan.context_length),
                }
            )
    return runs


def config(width: int, plan: Plan) -> DecoderConfig:
    """A storyteller of this width: heads of 32 at most, and F = 1.25 C, so N = 7.75 L C²."""
    heads = max(1, width // 32)
    return DecoderConfig(
        640, plan.context_length, plan.n_layers, width, heads, heads, width * 5 // 4,
        rope_base=500.0,
    )  # fmt: skip


def non_embedding_parameters(model: Decoder) -> int:
    """N as Kaplan et al. count it, table 1: the weights of attention and FFN."""
    return sum(p.numel() for p in model.blocks.parameters() if p.ndim >= 2)


def training_plan(width: int, steps: int, plan: Plan) -> TrainingPlan:
    """How a model of this width is trained for so many steps."""
    return TrainingPlan(
        steps,
        plan.learning_rate * (plan.widths[0] / width) ** 0.75,
        schedule=partial(warmup_stable_decay, decay=DECAY),
        warmup=plan.warmup,
    )


def train_to_lengths(
    model: Decoder,
    plan: TrainingPlan,
    windows: list[Int[Tensor, "B T"]],
    lengths: tuple[int, ...],
) -> list[tuple[int, nn.Module]]:
    """The model after a whole run of each length up to the plan's: the steps, and the model."""
    trunk, ended = Trainer(model, loss_function(model), plan), []
    fitting = [steps for steps in lengths if steps <= plan.steps]
    for steps in tqdm(fitting, desc=f"width {model.config.d_model}", unit="run"):
        train_until(steps - decay_steps(steps, DECAY), trunk, windows)
        branch = branched(trunk, steps)
        train_until(steps, branch, windows)
        ended.append((steps, branch.model))
    return ended


def train_until(steps: int, trainer: Trainer, windows: list[Int[Tensor, "B T"]]) -> None:
    """Train on the windows of the steps that are still to do."""
    for ids in windows[len(trainer.losses) : steps]:
        trainer.step((ids,))


def branched(trainer: Trainer, steps: int) -> Trainer:
    """A copy of the run as it stands, to be ended after so many steps in all."""
    model = copy.deepcopy(trainer.model)
    branch = Trainer(model, loss_function(model), replace(trainer.plan, steps=steps))
    branch.optimizer.load_state_dict(copy.deepcopy(trainer.optimizer.state_dict()))
    branch.losses[:] = trainer.losses
    return branch


def fits(runs: list[dict[str, float]]) -> dict[str, Any]:
    """The three laws; the first two at the greatest D to which every size was trained."""
    n, d, losses = columns(runs)
    common = min(d[n == size].max().item() for size in n.unique())
    here = d == common
    return {
        "tokens": int(common),
        "without_floor": _fit([n[here]], losses[here], floor=False),
        "with_floor": _fit([n[here]], losses[here], floor=True),
        "both": _fit([n, d], losses, floor=True),
    }


def columns(runs: list[dict[str, float]]) -> list[Float[Tensor, "n"]]:
    """N, D and the loss of each run."""
    return [
        torch.tensor([one[name] for one in runs], dtype=torch.float64)
        for name in ("parameters", "tokens", "loss")
    ]


def _fit(sizes: Sizes, losses: Float[Tensor, "n"], floor: bool) -> dict[str, Any]:
    law = fit_law(sizes, losses, floor)
    found = delta_intervals(law, sizes, losses)
    predicted = [law(*x) for x in zip(*(s.tolist() for s in sizes), strict=True)]
    return asdict(law) | {
        "exponent_intervals": [_finite(one) for one in found.exponents],
        "floor_interval": _finite(found.floor),
        "largest_error": (torch.tensor(predicted) / losses - 1).abs().max().item(),
    }


def _finite(interval: Interval) -> list[float | None]:
    return [end if math.isfinite(end) else None for end in interval]


def figure(results: dict[str, Any]) -> Figure:
    """Loss against N with two laws, loss against D with the third, and the exponents."""
    drawn, (size, data, exponents) = panels(
        ["Loss and size", "Loss and data", "Exponents, with 90 % intervals"]
    )
    _draw_sizes(size, results)
    _draw_data(data, results)
    _draw_exponents(exponents, results)
    return drawn


def _law(fit: dict[str, Any]) -> ScalingLaw:
    return ScalingLaw(tuple(fit["scales"]), tuple(fit["exponents"]), fit["floor"])


def _draw_sizes(panel: Axes, results: dict[str, Any]) -> None:
    found, (n, d, losses) = results["fits"], columns(results["runs"])
    here = d == found["tokens"]
    x = torch.logspace(n.min().log10() - 0.2, n.max().log10() + 0.2, 60, dtype=torch.float64)
    labels = {"without_floor": "no floor: α = {:.3f}", "with_floor": "floor E: α = {:.2f}"}
    for (name, label), colour in zip(labels.items(), COLOURS[1:], strict=False):
        law = _law(found[name])
        label = label.format(law.exponents[0])
        panel.plot(x, [law(one) for one in x.tolist()], color=colour, label=label)
        panel.fill_between(x, *delta_band(law, [n[here]], losses[here], [x]), color=colour,
                           alpha=0.15, linewidth=0)  # fmt: skip
    panel.plot(n[here], losses[here], "o", label=f"runs of {found['tokens'] / 1e6:.2g} M tokens")
    panel.axhline(results["storyteller"], color="0.5", linestyle=":", label="the storyteller")
    panel.set(xscale="log", yscale="log", xlabel="parameters without embeddings, N")
    panel.set(ylabel="held-out loss, nats a token", ylim=(0.9 * results["storyteller"], None))
    _plain_ticks(panel)
    panel.legend(fontsize="small")


def _draw_data(panel: Axes, results: dict[str, Any]) -> None:
    (n, d, losses), law = columns(results["runs"]), _law(results["fits"]["both"])
    x = torch.logspace(d.min().log10() - 0.1, d.max().log10() + 0.1, 30, dtype=torch.float64)
    for size, colour in zip(n.unique().tolist(), COLOURS, strict=False):
        here = n == size
        panel.plot(x, [law(size, one) for one in x.tolist()], color=colour, linewidth=0.8)
        panel.plot(d[here], losses[here], "o", color=colour, label=f"N = {size:,.0f}")
    panel.set(xscale="log", yscale="log", xlabel="tokens trained on, D")
    panel.set(ylabel="held-out loss, nats a token")
    _plain_ticks(panel)
    panel.set_ylim(bottom=0.6 * losses.min().item())
    panel.legend(fontsize="x-small", title="lines: L(N, D)", title_fontsize="small", ncols=2,
                 loc="lower left")  # fmt: skip


def _plain_ticks(panel: Axes) -> None:
    """Losses as plain numbers, though their axis is logarithmic."""
    panel.yaxis.set_major_locator(LogLocator(subs=(0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 2.0)))
    panel.yaxis.set_major_formatter(FormatStrFormatter("%.1f"))
    panel.yaxis.set_minor_formatter(NullFormatter())


def _draw_exponents(panel: Axes, results: dict[str, Any]) -> None:
    """Ours with their intervals above, the papers' below."""
    found = results["fits"]
    ours = [
        ("α of N, no floor", found["without_floor"], 0),
        ("α of N, floor E", found["with_floor"], 0),
        ("α of N in L(N, D)", found["both"], 0),
        ("β of D in L(N, D)", found["both"], 1),
    ]
    for row, (_, fit, i) in enumerate(ours):
        middle, (low, high) = fit["exponents"][i], fit["exponent_intervals"][i]
        panel.errorbar([middle], [row], xerr=[[middle - low], [high - middle]], fmt="o",
                       color=COLOURS[0], capsize=3, label="ours" if not row else None)  # fmt: skip
    rows = range(len(ours), len(ours) + len(PAPERS))
    panel.plot(list(results["papers"].values()), rows, "D", color=COLOURS[1], label="the papers'")
    names = [name for name, _, _ in ours] + [name.replace(": ", ":\n") for name in PAPERS]
    panel.set_yticks(range(len(names)), names, fontsize="small")
    panel.invert_yaxis()
    panel.set(xlabel="exponent", ylabel="law")
    panel.axvline(0, color="0.5", linewidth=0.8)
    panel.legend(fontsize="small")
