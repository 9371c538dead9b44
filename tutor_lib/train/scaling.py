"""Scaling laws: how the loss falls as models and data grow, fitted to runs that were made.

One form holds them all: E plus a power law for each size that was varied.

| law | sizes | floor |
|---|---|---|
| L(N) = (N_c / N)^α: Kaplan et al. 2020, eq. 1.1 (arXiv:2001.08361) | N | no |
| L(N) = E + A / N^α | N | yes |
| L(N, D) = E + A / N^α + B / D^β: Hoffmann et al. 2022, eq. 2 (arXiv:2203.15556) | N, D | yes |

E is the entropy of the text itself: what no model gets below. N counts parameters, without
embeddings in Kaplan's; D counts tokens; L is in nats a token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from tutor_lib.train.least_squares import fit_log_sums

Sizes = Sequence[Float[Tensor, "n"]]


@dataclass(frozen=True)
class ScalingLaw:
    """L = E + Σ_i A_i / x_i^α_i, with one A and one α for each size x."""

    scales: tuple[float, ...]  # A
    exponents: tuple[float, ...]  # α
    floor: float = 0.0  # E, nats a token

    def __call__(self, *sizes: float) -> float:
        """The loss at these sizes."""
        terms = zip(self.scales, sizes, self.exponents, strict=True)
        return self.floor + sum(scale / x**exponent for scale, x, exponent in terms)

    @property
    def critical_sizes(self) -> tuple[float, ...]:
        """A^(1/α), Kaplan's N_c: the size at which the law without its floor says 1 nat."""
        pairs = zip(self.scales, self.exponents, strict=True)
        return tuple(scale ** (1 / exponent) for scale, exponent in pairs)


def fit_law(
    sizes: Sizes, losses: Float[Tensor, "n"], floor: bool = True, delta: float = math.inf
) -> ScalingLaw:
    """The law that comes nearest to n runs of the given sizes.

    It makes Σ Huber_δ(log L - log L̂) least: Hoffmann et al., eq. 3. δ = ∞ is least squares;
    their δ = 1e-3 is nearly the sum of absolute errors, which a few odd runs do not sway.
    Logarithms make errors relative, so that small losses count as much as large ones.

    Raises ValueError if a number is not positive and finite, there are not more runs than
    parameters, or a size was not varied enough.
    """
    check_runs(sizes, losses, floor)
    features, starts = features_of(sizes, floor), _starts(sizes, losses, floor)
    ones = torch.ones(len(starts), len(losses), dtype=torch.float64)
    found, objectives = fit_log_sums(features, losses.double().log(), starts, ones, delta)
    law = law_of(found[objectives.argmin()], len(sizes))
    if not all(map(math.isfinite, (*law.scales, *law.exponents, law.floor))):
        raise ValueError(f"{len(losses)} runs of these sizes do not determine {law}")
    return law


def compute_optimal(law: ScalingLaw, flops: float) -> tuple[float, float]:
    """The N and D at which a law of both has its least loss, given C = 6 N D operations.

    N = G (C/6)^(β/(α+β)) and D = (C/6)^(α/(α+β)) / G with G = (αA / βB)^(1/(α+β)): Hoffmann et
    al., eq. 4.

    Raises ValueError unless the law has two sizes and positive exponents, and C is positive.
    """
    if len(law.exponents) != 2 or not min(law.exponents) > 0:
        raise ValueError(f"the law needs positive exponents of N and D, got {law.exponents}")
    if not 0 < flops < math.inf:
        raise ValueError(f"the operations must be positive and finite, got {flops}")
    (a, b), (alpha, beta) = law.scales, law.exponents
    g = (alpha * a / (beta * b)) ** (1 / (alpha + beta))
    n_parameters = g * (flops / 6) ** (beta / (alpha + beta))
    return n_parameters, flops / 6 / n_parameters


def check_runs(sizes: Sizes, losses: Float[Tensor, "n"], floor: bool) -> None:
    """Raise ValueError if no law can be fitted to these runs."""
    if not sizes:
        raise ValueError("a law needs at least one size")
    for name, numbers in [("losses", losses), *((f"sizes[{i}]", x) for i, x in enumerate(sizes))]:
        if len(numbers) != len(losses):
            raise ValueError(f"{len(losses)} losses, but {len(numbers)} {name}")
        bad = numbers[~(torch.isfinite(numbers) & (numbers > 0))]
        if len(bad):
            raise ValueError(f"{name} must be positive and finite, got {bad[0].item()}")
    n_parameters = 2 * len(sizes) + floor
    if len(losses) <= n_parameters:
        raise ValueError(f"{n_parameters} parameters need more runs than {len(losses)}")
    needed = 2 + (floor and len(sizes) == 1)
    for i, x in enumerate(sizes):
        if (found := len(x.unique())) < needed:
            raise ValueError(f"sizes[{i}] needs {needed} different values, got {found}")


def features_of(sizes: Sizes, floor: bool) -> Float[Tensor, "n K P"]:
    """log of each term as a linear function of θ = (log A_1, α_1, …, log E)."""
    n_terms, n_parameters = len(sizes) + floor, 2 * len(sizes) + floor
    features = torch.zeros(len(sizes[0]), n_terms, n_parameters, dtype=torch.float64)
    for i, x in enumerate(sizes):
        features[:, i, 2 * i] = 1
        features[:, i, 2 * i + 1] = -x.double().log()
    if floor:
        features[:, -1, -1] = 1
    return features


def _starts(sizes: Sizes, losses: Float[Tensor, "n"], floor: bool) -> Float[Tensor, "S P"]:
    """A grid of exponents and floors; what is over the floor is shared out evenly."""
    floors = [share * losses.min().item() for share in (0.2, 0.6, 0.9, 0.99)] if floor else [0.0]
    starts = []
    for e, *exponents in product(floors, *[(0.1, 0.4, 1.0)] * len(sizes)):
        over = ((losses.double() - e) / len(sizes)).log().mean().item()
        theta = []
        for x, exponent in zip(sizes, exponents, strict=True):
            theta += [over + exponent * x.double().log().mean().item(), exponent]
        starts.append([*theta, math.log(e)] if floor else theta)
    return torch.tensor(starts, dtype=torch.float64)


def law_of(theta: Float[Tensor, "P"], n_sizes: int) -> ScalingLaw:
    """The law of the parameters θ."""
    numbers = theta.tolist()
    scales, exponents = theta.exp()[: 2 * n_sizes : 2].tolist(), numbers[1 : 2 * n_sizes : 2]
    has_floor = len(numbers) > 2 * n_sizes and numbers[-1] > -50  # less than e^-50 nats is none
    floor = math.exp(numbers[-1]) if has_floor else 0.0
    return ScalingLaw(tuple(scales), tuple(exponents), floor)


def theta_of(law: ScalingLaw) -> Float[Tensor, "P"]:
    """The other way round."""
    numbers: list[float] = []
    for scale, exponent in zip(law.scales, law.exponents, strict=True):
        numbers += [math.log(scale), exponent]
    numbers += [math.log(law.floor)] if law.floor else []
    return torch.tensor(numbers, dtype=torch.float64)
