"""The learning rate over a run: how it rises, stays and falls.

Each schedule is a function of the step (from 0), the steps of the whole run and those of the
warm-up; it returns the factor on the peak learning rate. `functools.partial` sets what one has
beyond that. The warm-up is the same in all: (step + 1) / warmup, a line up to 1.
"""

import math
from collections.abc import Callable

Schedule = Callable[[int, int, int], float]


def warmup_cosine(step: int, steps: int, warmup: int, floor: float = 0.1) -> float:
    """Up in a line, down in half a cosine.

    floor + (1 - floor) · (1 + cos πt) / 2 with t from 0 to 1 after the warm-up: Loshchilov and
    Hutter 2017, eq. 5 (arXiv:1608.03983), one period.

    Raises ValueError unless 0 ≤ warmup < steps and 0 ≤ step < steps.
    """
    check_step(step, steps, warmup)
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / (steps - warmup)
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


def warmup_linear(step: int, steps: int, warmup: int, floor: float = 0.0) -> float:
    """Up in a line, down in a line: floor + (1 - floor) · (1 - t), as BERT was trained.

    Raises ValueError unless 0 ≤ warmup < steps and 0 ≤ step < steps.
    """
    check_step(step, steps, warmup)
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * (steps - step) / (steps - warmup)


def warmup_constant(step: int, steps: int, warmup: int) -> float:
    """Up in a line, and there it stays.

    Raises ValueError unless 0 ≤ warmup < steps and 0 ≤ step < steps.
    """
    check_step(step, steps, warmup)
    return min(1.0, (step + 1) / max(warmup, 1))


def warmup_stable_decay(step: int, steps: int, warmup: int, decay: float = 0.2) -> float:
    """A trapezoid: up in a line, flat, and down in a line over the last share `decay` of the run.

    Hu et al. 2024, §4 (arXiv:2404.06395). Until the decay begins the rate does not depend on
    the run's length: one long run can end, by a decay of its own, at several lengths. Hägele et
    al. 2024 (arXiv:2405.18392) fit scaling laws so.

    Raises ValueError unless 0 < decay ≤ 1, warm-up and decay fit the run, and 0 ≤ step < steps.
    """
    check_step(step, steps, warmup)
    if not 0 < decay <= 1 or warmup + decay_steps(steps, decay) > steps:
        raise ValueError(
            f"a decay of {decay} does not fit a run with {warmup} of {steps} steps of warm-up"
        )
    left = (steps - step) / decay_steps(steps, decay)
    return min(warmup_constant(step, steps, warmup), left)


def decay_steps(steps: int, decay: float) -> int:
    """How many steps the share `decay` of a run is, at least one."""
    return max(1, round(steps * decay))


def inverse_square_root(step: int, steps: int, warmup: int) -> float:
    """Up in a line, down as 1/√step: Vaswani et al. 2017, eq. 3 (arXiv:1706.03762).

    min(s^-0.5, s · warmup^-1.5) with s = step + 1, over its peak, warmup^-0.5. The run's length
    does not enter.

    Raises ValueError unless 1 ≤ warmup < steps and 0 ≤ step < steps.
    """
    check_step(step, steps, warmup)
    if warmup < 1:
        raise ValueError(f"the inverse square root needs a warm-up, got {warmup} steps")
    s = step + 1
    return min(s**-0.5, s * warmup**-1.5) * warmup**0.5


def check_step(step: int, steps: int, warmup: int) -> None:
    """Raise ValueError unless 0 ≤ warmup < steps and 0 ≤ step < steps."""
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup must lie in 0…{steps - 1}, got {warmup}")
    if not 0 <= step < steps:
        raise ValueError(f"step must lie in 0…{steps - 1}, got {step}")
