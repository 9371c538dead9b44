"""The learning rate over a run: up in a line, down in half a cosine."""

import math


def warmup_cosine(step: int, steps: int, warmup: int, floor: float = 0.1) -> float:
    """The factor on the peak learning rate at `step` (from 0).

    (step + 1) / warmup while it warms up, then floor + (1 - floor) · (1 + cos πt) / 2 with t
    from 0 to 1: Loshchilov and Hutter 2017, eq. 5 (arXiv:1608.03983), one period.

    Raises ValueError unless 0 ≤ warmup < steps and 0 ≤ step < steps.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup must lie in 0…{steps - 1}, got {warmup}")
    if not 0 <= step < steps:
        raise ValueError(f"step must lie in 0…{steps - 1}, got {step}")
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / (steps - warmup)
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2
