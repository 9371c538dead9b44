"""Fits of laws that are known, against scipy's; and intervals that hold as often as they say."""

import math

import numpy as np
import pytest
import torch
from scipy import optimize, stats

from tutor_lib.train.confidence import (
    bootstrap_intervals,
    delta_band,
    delta_intervals,
    student_quantile,
)
from tutor_lib.train.least_squares import fit_log_sums
from tutor_lib.train.scaling import ScalingLaw, compute_optimal, features_of, fit_law

CHINCHILLA = ScalingLaw((406.4, 410.7), (0.34, 0.28), 1.69)  # Hoffmann et al. 2022
KAPLAN = ScalingLaw((8.8e13**0.076,), (0.076,))
FLOORED = ScalingLaw((20.0,), (0.5,), 0.8)
LAWS = ["without floor", "with floor", "two sizes"]
N = torch.logspace(3, 6, 7, dtype=torch.double)
GRID = [x.flatten() for x in torch.meshgrid(
    torch.logspace(7, 10, 5, dtype=torch.double), torch.logspace(9, 11.5, 5, dtype=torch.double),
    indexing="ij",
)]  # fmt: skip


def losses_of(law: ScalingLaw, sizes: list, noise: float = 0.0, seed: int = 0) -> torch.Tensor:
    exact = torch.tensor([law(*x) for x in zip(*(s.tolist() for s in sizes), strict=True)])
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(len(exact), generator=generator, dtype=torch.double)
    return exact.double() * (noise * drawn).exp()


@pytest.mark.parametrize("delta", [math.inf, 1e-3])
@pytest.mark.parametrize(
    ("law", "sizes"), [(KAPLAN, [N]), (FLOORED, [N]), (CHINCHILLA, GRID)], ids=LAWS
)
def test_a_known_law_is_found_again(law, sizes, delta):
    losses = torch.tensor(
        [law(*x) for x in zip(*(s.tolist() for s in sizes), strict=True)], dtype=torch.double
    )
    found = fit_law(sizes, losses, law.floor > 0, delta)
    assert found.exponents == pytest.approx(law.exponents, rel=1e-6)
    assert found.scales == pytest.approx(law.scales, rel=1e-5)
    assert found.floor == pytest.approx(law.floor, rel=1e-6)
    assert found(*(s[0].item() for s in sizes)) == pytest.approx(losses[0].item())


def test_without_a_floor_it_is_scipys_regression():
    losses = losses_of(KAPLAN, [N], 0.02)
    law, line = fit_law([N], losses, floor=False), stats.linregress(N.log(), losses.log())
    assert law.exponents[0] == pytest.approx(-line.slope, rel=1e-9)
    assert math.log(law.scales[0]) == pytest.approx(line.intercept, rel=1e-9)
    # Kaplan's way to write it: log L = α log N_c - α log N.
    assert law.critical_sizes[0] == pytest.approx(math.exp(-line.intercept / line.slope), rel=1e-6)
    error = stats.t.ppf(0.95, len(N) - 2) * line.stderr
    interval = delta_intervals(law, [N], losses).exponents[0]
    assert interval == pytest.approx((-line.slope - error, -line.slope + error), rel=1e-9)


def log_law(sizes: tuple, a: float, alpha: float, b: float, beta: float, e: float) -> np.ndarray:
    n, d = sizes
    return np.log(np.exp(e) + np.exp(a) * n**-alpha + np.exp(b) * d**-beta)


def test_with_two_sizes_it_is_scipys_curve_fit():
    losses = losses_of(CHINCHILLA, GRID, 0.005)
    law, arrays = fit_law(GRID, losses), tuple(x.numpy() for x in GRID)
    start = [math.log(406.4), 0.34, math.log(410.7), 0.28, math.log(1.69)]
    best, covariance = optimize.curve_fit(log_law, arrays, losses.log().numpy(), start)
    assert law.exponents == pytest.approx((best[1], best[3]), rel=1e-4)
    assert np.log([*law.scales, law.floor]) == pytest.approx(best[[0, 2, 4]], rel=1e-4)
    errors = stats.t.ppf(0.975, 25 - 5) * np.sqrt(np.diag(covariance))
    intervals = delta_intervals(law, GRID, losses, level=0.95)
    for interval, i in zip(intervals.exponents, (1, 3), strict=True):
        assert interval == pytest.approx((best[i] - errors[i], best[i] + errors[i]), rel=1e-3)
    ends = np.exp([best[4] - errors[4], best[4] + errors[4]])
    assert intervals.floor == pytest.approx(tuple(ends), rel=1e-3)


def test_hubers_loss_is_as_small_as_scipys():
    """Hoffmann et al.'s way: L-BFGS on Σ Huber over a grid of starts, δ = 1e-3."""
    losses = losses_of(CHINCHILLA, GRID, 0.01)
    losses[3] *= 1.5  # an odd run
    arrays, y = tuple(x.numpy() for x in GRID), losses.log().numpy()

    def objective(theta: np.ndarray) -> float:
        size = np.abs(y - log_law(arrays, *theta))
        return np.where(size < 1e-3, size**2 / 2, 1e-3 * (size - 5e-4)).sum()

    starts = [(a, alpha, a, alpha, 0.5) for a in (5, 10) for alpha in (0.2, 0.5)]
    theirs = min(optimize.minimize(objective, start, method="L-BFGS-B").fun for start in starts)
    law = fit_law(GRID, losses, delta=1e-3)
    (a, b), (alpha, beta) = np.log(law.scales), law.exponents
    assert objective([a, alpha, b, beta, math.log(law.floor)]) <= theirs * 1.001
    swayed = fit_law(GRID, losses)
    assert abs(law.floor - 1.69) < abs(swayed.floor - 1.69)


def test_a_law_without_a_floor_has_none_when_one_is_looked_for():
    found = fit_law([N], losses_of(KAPLAN, [N]), floor=True)
    assert found.floor < 0.01
    assert found.exponents[0] == pytest.approx(0.076, rel=0.01)


def test_compute_optimal_is_the_minimum_that_scipy_finds():
    for flops in (1e18, 1e21, 5.76e23):
        n, d = compute_optimal(CHINCHILLA, flops)
        assert 6 * n * d == pytest.approx(flops)

        def loss(log_n: float, flops: float = flops) -> float:
            return CHINCHILLA(math.exp(log_n), flops / 6 / math.exp(log_n))

        best = optimize.minimize_scalar(loss, bounds=(5, 40), method="bounded")
        assert math.log(n) == pytest.approx(best.x, abs=1e-3)


@pytest.mark.parametrize("share", [0.5, 0.75, 0.95, 0.995])
def test_students_quantile_is_scipys(share):
    for freedom in [*range(1, 12), 29, 30, 101]:
        expected = stats.t.ppf(share, freedom)
        assert student_quantile(share, freedom) == pytest.approx(expected, rel=1e-8, abs=1e-8)


def covered(law: ScalingLaw, sizes: list, noise: float, simulations: int, intervals) -> list[float]:
    """In what share of simulations the interval of each exponent, and of the floor, holds it."""
    hits = torch.zeros(simulations, len(sizes) + 1)
    for seed in range(simulations):
        losses = losses_of(law, sizes, noise, seed)
        found = intervals(fit_law(sizes, losses, law.floor > 0), sizes, losses)
        true = [*law.exponents, law.floor]
        for i, ((low, high), x) in enumerate(
            zip([*found.exponents, found.floor], true, strict=True)
        ):
            hits[seed, i] = low <= x <= high
    return hits.mean(0).tolist()


@pytest.mark.parametrize(
    ("law", "sizes", "noise", "simulations"),
    [(KAPLAN, [N], 0.02, 200), (FLOORED, [N], 0.01, 200), (CHINCHILLA, GRID, 0.005, 60)],
    ids=LAWS,
)
def test_an_interval_of_90_percent_holds_the_truth_in_about_90(law, sizes, noise, simulations):
    shares = covered(law, sizes, noise, simulations, delta_intervals)
    assert all(0.8 <= share <= 0.97 for share in shares[: len(law.exponents)])
    assert not law.floor or 0.8 <= shares[-1] <= 0.97


def test_a_bootstrap_interval_does_so_where_runs_are_many():
    sizes = [torch.logspace(3, 6, 40, dtype=torch.double)]
    generator = torch.Generator().manual_seed(3)

    def intervals(law, sizes, losses):
        return bootstrap_intervals(law, sizes, losses, generator, samples=100)

    share = covered(KAPLAN, sizes, 0.02, 60, intervals)[0]
    assert 0.8 <= share <= 0.97


def test_both_kinds_of_interval_agree_where_runs_are_many():
    sizes = [x.repeat(8) for x in GRID]
    losses = losses_of(CHINCHILLA, sizes, 0.01)
    law = fit_law(sizes, losses)
    by_delta = delta_intervals(law, sizes, losses)
    drawn = bootstrap_intervals(law, sizes, losses, torch.Generator().manual_seed(1), samples=300)
    for ours, theirs in zip(
        [*by_delta.exponents, by_delta.floor], [*drawn.exponents, drawn.floor], strict=True
    ):
        assert ours == pytest.approx(theirs, abs=0.3 * (ours.high - ours.low))


def test_the_same_generator_draws_the_same_interval():
    losses = losses_of(KAPLAN, [N], 0.02)
    law = fit_law([N], losses, floor=False)
    first, second = (
        bootstrap_intervals(law, [N], losses, torch.Generator().manual_seed(1), samples=50)
        for _ in range(2)
    )
    assert first == second


def test_the_band_is_scipys_for_a_line():
    losses, at = losses_of(KAPLAN, [N], 0.02), torch.tensor([500.0, 2e4, 1e7]).double()
    law = fit_law([N], losses, floor=False)
    low, high = delta_band(law, [N], losses, [at], 0.95)
    x, y = N.log().numpy(), losses.log().numpy()
    line = stats.linregress(x, y)
    residuals = y - line.intercept - line.slope * x
    s = math.sqrt((residuals**2).sum() / (len(x) - 2))
    for i, z in enumerate(at.log().tolist()):
        spread = math.sqrt(1 / len(x) + (z - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum())
        middle, error = line.intercept + line.slope * z, stats.t.ppf(0.975, len(x) - 2) * s * spread
        assert low[i].item() == pytest.approx(math.exp(middle - error), rel=1e-6)
        assert high[i].item() == pytest.approx(math.exp(middle + error), rel=1e-6)


def test_every_step_of_the_fit_goes_down():
    losses = losses_of(CHINCHILLA, GRID, 0.02)
    features, starts = features_of(GRID, True), torch.randn(11, 5).double()
    before = None
    for steps in (0, 1, 3, 10, 100):
        _, objective = fit_log_sums(
            features, losses.log(), starts, torch.ones(11, 25).double(), 1e-3, steps
        )
        assert before is None or (objective <= before).all()
        before = objective


LOSSES = losses_of(FLOORED, [N])


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_law([N[:3]], LOSSES[:3]), "3 parameters need more runs than 3"),
        (lambda: fit_law(GRID, torch.ones(25)[:5]), "5 losses, but 25"),
        (lambda: fit_law([N], LOSSES - 10), r"losses must be positive and finite, got -"),
        (lambda: fit_law([N], LOSSES * math.nan), "losses must be positive and finite, got nan"),
        (lambda: fit_law([N], LOSSES / 0), "losses must be positive and finite, got inf"),
        (lambda: fit_law([N * 0], LOSSES), r"sizes\[0\] must be positive and finite, got 0.0"),
        (lambda: fit_law([N * 0 + 5], LOSSES, False), "needs 2 different values, got 1"),
        (lambda: fit_law([N.clamp(max=5e3)[[0, 3, 4, 5, 6]]], LOSSES[:5]), "3 different .* got 2"),
        (lambda: compute_optimal(FLOORED, 1e20), "exponents of N and D"),
        (lambda: compute_optimal(CHINCHILLA, 0.0), "got 0.0"),
        (lambda: compute_optimal(CHINCHILLA, math.inf), "got inf"),
        (lambda: student_quantile(1.0, 3), "got 1.0"),
        (lambda: student_quantile(0.9, 0), "got 0"),
        (lambda: delta_intervals(FLOORED, [N], LOSSES, 1.0), "need 0 < level < 1, got 1.0"),
        (lambda: bootstrap_intervals(FLOORED, [N], LOSSES, torch.Generator(), samples=0), "got 0"),
        (lambda: bootstrap_intervals(FLOORED, [N], LOSSES, torch.Generator(), level=0.0), "got 0"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
