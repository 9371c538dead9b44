"""The schedules against PyTorch's, those of `transformers`, and their formulas."""

import math
from functools import partial

import pytest
import torch
import transformers
from torch.optim.lr_scheduler import CosineAnnealingLR

from tutor_lib.train.schedule import (
    inverse_square_root,
    warmup_constant,
    warmup_cosine,
    warmup_linear,
    warmup_stable_decay,
)

STEPS, WARMUP = 113, 17


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def factors_of(scheduler) -> list[float]:
    found = []
    for _ in range(STEPS + 1):
        found.append(scheduler.optimizer.param_groups[0]["lr"])
        scheduler.optimizer.step()
        scheduler.step()
    return found


def test_cosine_is_a_line_and_then_pytorchs_cosine():
    floor = 0.1
    factors = [warmup_cosine(step, STEPS, WARMUP, floor) for step in range(STEPS)]
    assert factors[:WARMUP] == pytest.approx([(i + 1) / WARMUP for i in range(WARMUP)])
    cosine = CosineAnnealingLR(optimizer(), T_max=STEPS - WARMUP, eta_min=floor)
    assert factors[WARMUP:] == pytest.approx(factors_of(cosine)[: STEPS - WARMUP])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (partial(warmup_cosine, floor=0.0), transformers.get_cosine_schedule_with_warmup),
        (warmup_linear, transformers.get_linear_schedule_with_warmup),
        (warmup_constant, lambda o, w, _: transformers.get_constant_schedule_with_warmup(o, w)),
        (partial(warmup_stable_decay, decay=29 / STEPS),
         lambda o, w, steps: transformers.get_wsd_schedule(o, w, 29, steps, decay_type="linear")),
    ],
    ids=["cosine", "linear", "constant", "trapezoid"],
)  # fmt: skip
def test_equals_transformers(ours, theirs):
    """Theirs begins at 0, ours with the first step of the way up: one step further."""
    expected = factors_of(theirs(optimizer(), WARMUP, STEPS))
    factors = [ours(step, STEPS, WARMUP) for step in range(STEPS)]
    assert factors[:WARMUP] == pytest.approx(expected[1 : WARMUP + 1])
    assert factors[WARMUP:] == pytest.approx(expected[WARMUP:STEPS])


def test_inverse_square_root_is_the_papers():
    """lrate = d^-0.5 · min(step^-0.5, step · warmup^-1.5), steps counted from 1."""
    d = 512
    paper = [d**-0.5 * min(s**-0.5, s * WARMUP**-1.5) for s in range(1, STEPS + 1)]
    factors = [inverse_square_root(step, STEPS, WARMUP) for step in range(STEPS)]
    assert [x * max(paper) for x in factors] == pytest.approx(paper)
    assert max(factors) == pytest.approx(1.0)


def test_a_floor_is_where_it_ends():
    assert warmup_linear(STEPS - 1, STEPS, WARMUP, 0.3) == pytest.approx(0.3, abs=0.01)
    assert warmup_cosine(STEPS - 1, STEPS, WARMUP, 0.3) == pytest.approx(0.3, abs=0.01)


def test_until_its_decay_a_trapezoid_does_not_know_how_long_the_run_is():
    short = [warmup_stable_decay(step, 50, WARMUP) for step in range(50)]
    long = [warmup_stable_decay(step, 500, WARMUP) for step in range(50)]
    assert short[:40] == long[:40]
    assert short[40:] == pytest.approx([(50 - step) / 10 for step in range(40, 50)])


@pytest.mark.parametrize(
    "schedule",
    [warmup_cosine, warmup_linear, warmup_constant, warmup_stable_decay, inverse_square_root],
)
def test_bad_input_is_named(schedule):
    with pytest.raises(ValueError, match=r"warmup must lie in 0…4, got 5"):
        schedule(0, 5, 5)
    with pytest.raises(ValueError, match=r"warmup must lie in 0…4, got -1"):
        schedule(0, 5, -1)
    with pytest.raises(ValueError, match=r"step must lie in 0…4, got 5"):
        schedule(5, 5, 1)
    assert math.isfinite(schedule(0, 5, 1))


def test_a_decay_that_does_not_fit_is_named():
    assert warmup_stable_decay(3, 5, 4) == 1.0  # 4 + 1 steps just fit, though 1 - 4/5 < 0.2
    for decay in (0.0, 0.9, 1.1, math.nan):
        with pytest.raises(ValueError, match=f"a decay of {decay} does not fit .* 3 of 10 steps"):
            warmup_stable_decay(0, 10, 3, decay)
    with pytest.raises(ValueError, match="needs a warm-up, got 0"):
        inverse_square_root(0, 10, 0)
