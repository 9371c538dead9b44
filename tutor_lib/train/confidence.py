"""How sure the numbers of a fitted scaling law are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tutor_lib.train.least_squares import fit_log_sums, log_sums
from tutor_lib.train.scaling import ScalingLaw, Sizes, check_runs, features_of, law_of, theta_of


class Interval(NamedTuple):
    """From `low` to `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """One for each exponent of a law, and one for its floor."""

    exponents: tuple[Interval, ...]
    floor: Interval


def delta_intervals(
    law: ScalingLaw, sizes: Sizes, losses: Float[Tensor, "n"], level: float = 0.9
) -> Intervals:
    """Intervals of a law fitted by least squares, if the errors of log L are normal and alike.

    θ ± t · √diag(s² (JᵀJ)⁻¹), with J the gradient of log L̂ in θ, s² the sum of the squared
    errors over the n - P degrees of freedom, and t Student's quantile with so many: the delta
    method. It serves few runs, and leans on the form of the law being right. A floor that was
    fitted and found to be 0 is taken for known: its interval is (0, 0).

    Raises ValueError if the runs do not fit the law or do not determine it, or unless
    0 < level < 1.
    """
    covariance, t = _covariance(law, sizes, losses), _student(law, losses, level)
    theta, errors = theta_of(law), t * covariance.diagonal().sqrt()
    ends = torch.stack([theta - errors, theta + errors], dim=1)
    exponents = [Interval(*pair) for pair in ends[1 : 2 * len(sizes) : 2].tolist()]
    floor = Interval(*ends[-1].exp().tolist()) if law.floor else Interval(0.0, 0.0)
    return Intervals(tuple(exponents), floor)


def delta_band(
    law: ScalingLaw,
    sizes: Sizes,
    losses: Float[Tensor, "n"],
    at: Sequence[Float[Tensor, "m"]],
    level: float = 0.9,
) -> tuple[Float[Tensor, "m"], Float[Tensor, "m"]]:
    """Between which losses the law itself lies at other sizes, point by point, by the same method.

    Raises ValueError as `delta_intervals` does.
    """
    covariance, t = _covariance(law, sizes, losses), _student(law, losses, level)
    middle, slopes = log_sums(features_of(at, law.floor > 0), theta_of(law)[None])
    error = t * torch.einsum("mp,pq,mq->m", slopes[0], covariance, slopes[0]).sqrt()
    return (middle[0] - error).exp(), (middle[0] + error).exp()


def bootstrap_intervals(
    law: ScalingLaw,
    sizes: Sizes,
    losses: Float[Tensor, "n"],
    generator: torch.Generator,
    level: float = 0.9,
    delta: float = math.inf,
    samples: int = 1000,
) -> Intervals:
    """Intervals that hold the middle share `level` of fits to runs drawn with replacement.

    Efron 1979. It serves Huber's loss too, and asks nothing of the errors, but that the runs be
    many. Besiroglu et al. 2024 (arXiv:2404.10102) found Chinchilla's own intervals too narrow so.

    Raises ValueError as `delta_intervals` does, or unless `samples` is positive.
    """
    check_runs(sizes, losses, law.floor > 0)
    _check_level(level)
    if samples < 1:
        raise ValueError(f"samples must be positive, got {samples}")
    n, theta = len(losses), theta_of(law)
    drawn = torch.randint(n, (samples, n), generator=generator)
    counts = torch.zeros(samples, n, dtype=torch.float64)
    counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
    features, y = features_of(sizes, law.floor > 0), losses.double().log()
    found, _ = fit_log_sums(features, y, theta.expand(samples, -1), counts, delta)
    laws = [law_of(one, len(sizes)) for one in found]
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)

    def middle(numbers: Sequence[float]) -> Interval:
        return Interval(*torch.tensor(numbers, dtype=torch.float64).quantile(ends).tolist())

    exponents = zip(*(one.exponents for one in laws), strict=True)
    return Intervals(tuple(map(middle, exponents)), middle([one.floor for one in laws]))


def student_quantile(share: float, freedom: int) -> float:
    """The t under which a share of Student's distribution with so many degrees of freedom lies.

    Found by halving; the distribution as a finite sum in θ = atan(t / √ν): Abramowitz and Stegun
    1964, 26.7.3 and 26.7.4.

    Raises ValueError unless 0.5 ≤ share < 1 and freedom ≥ 1.
    """
    if not 0.5 <= share < 1:
        raise ValueError(f"need 0.5 ≤ share < 1, got {share}")
    if freedom < 1:
        raise ValueError(f"need a degree of freedom, got {freedom}")
    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 2 * share - 1 else (low, middle)
    return math.tan(low) * math.sqrt(freedom)


def _within(theta: float, freedom: int) -> float:
    """The share of Student's distribution between -t and t = √ν · tan θ."""
    odd = freedom % 2
    term = math.sin(theta) * (math.cos(theta) if odd else 1.0)
    total = term if freedom > 1 else 0.0
    for j in range(2 + odd, freedom - 1, 2):
        term *= (j - 1) / j * math.cos(theta) ** 2
        total += term
    return 2 / math.pi * (theta + total) if odd else total


def _student(law: ScalingLaw, losses: Tensor, level: float) -> float:
    _check_level(level)
    return student_quantile((1 + level) / 2, len(losses) - len(theta_of(law)))


def _covariance(law: ScalingLaw, sizes: Sizes, losses: Tensor) -> Float[Tensor, "P P"]:
    """s² (JᵀJ)⁻¹."""
    check_runs(sizes, losses, law.floor > 0)
    predicted, slopes = log_sums(features_of(sizes, law.floor > 0), theta_of(law)[None])
    residuals, j = losses.double().log() - predicted[0], slopes[0]
    inverse, failed = torch.linalg.inv_ex(j.T @ j)
    if failed:
        raise ValueError(f"{len(losses)} runs of these sizes do not determine {law}")
    return inverse * residuals.square().sum() / (len(losses) - j.size(1))


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"need 0 < level < 1, got {level}")
