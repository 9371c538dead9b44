"""The bench's arithmetic, on runs whose times are made up."""

import pytest

from tests.bench import harness
from tests.bench.harness import Comparison, Result, compare


def row(**changes) -> Comparison:
    settings = {"work": "w", "peer": "p", "ours": lambda: 1, "theirs": lambda: 1,
                "same": int.__eq__, "at_least": 2.0, "rounds": 8}  # fmt: skip
    return Comparison(**settings | changes)


def test_ratios_are_taken_within_a_round(monkeypatch):
    """The machine gets slower and slower; ours stays twice as fast, whoever comes first."""
    seen, mine, theirs = [], lambda: "ours", lambda: "theirs"

    def seconds(work) -> float:
        seen.append(work())
        slowness = 1 + (len(seen) - 1) // 2  # the same for both of a round
        return slowness * (1.0 if work is mine else 2.0)

    monkeypatch.setattr(harness, "seconds", seconds)
    result = compare(row(ours=mine, theirs=theirs, same=lambda a, b: a != b))
    assert (result.ratio, result.low, result.high) == (2.0, 2.0, 2.0)
    assert (result.ours_s, result.theirs_s) == (4.5, 9.0)
    assert seen[::2].count("ours") == 4
    assert seen.count("ours") == 8


def test_times_of_different_results_are_not_compared():
    with pytest.raises(ValueError, match="w: our output is not that of p"):
        compare(row(theirs=lambda: 2))


@pytest.mark.parametrize(("ratio", "passed"), [(2.0, True), (1.995, True), (1.994, False)])
def test_a_row_passes_as_it_is_printed(ratio, passed):
    assert Result("w", "p", 1.0, 2.0, ratio, 1.0, 3.0, at_least=2.0).passed is passed
