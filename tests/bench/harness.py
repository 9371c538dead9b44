"""Time two ways to do the same work, in turn, after seeing that they agree."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Comparison:
    """One row of the table. `ours` and `theirs` do the work once and return what they made."""

    work: str
    peer: str
    ours: Callable[[], object]
    theirs: Callable[[], object]
    same: Callable[[object, object], bool]
    at_least: float  # the peer's time over ours
    rounds: int = 16  # even: each is first in half of them


@dataclass(frozen=True)
class Result:
    """Seconds, medians over the rounds; `low` and `high` are the quartiles of the ratio."""

    work: str
    peer: str
    ours_s: float
    theirs_s: float
    ratio: float
    low: float
    high: float
    at_least: float

    @property
    def passed(self) -> bool:
        return round(self.ratio, 2) >= self.at_least  # as it is printed


def compare(row: Comparison) -> Result:
    """Run both once to see that they agree, then in turn; the ratio is taken within a round.

    Raises ValueError if the outputs differ.
    """
    if not row.same(row.ours(), row.theirs()):
        raise ValueError(f"{row.work}: our output is not that of {row.peer}")
    pairs = []
    for i in range(row.rounds):
        first, second = (row.ours, row.theirs) if i % 2 else (row.theirs, row.ours)
        one, two = seconds(first), seconds(second)
        pairs.append((one, two) if i % 2 else (two, one))
    ours, theirs = zip(*pairs, strict=True)
    ratios = [b / a for a, b in pairs]
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Result(row.work, row.peer, statistics.median(ours), statistics.median(theirs),
                  middle, low, high, row.at_least)  # fmt: skip


def seconds(work: Callable[[], object]) -> float:
    """The wall time of one run."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
