"""The hostile table: what each row tries, what should come out, and what did."""

from collections.abc import Sequence

from tests.grading.hostile.batch import SECRETS, Came, Outcome
from tests.grading.hostile.row import Row
from tests.grading.probe import POINTS


def wrong(row: Row, came: Came) -> list[str]:
    """What is not as it should be."""
    said = [text for text in (*SECRETS, *row.get("UNSAID", ())) if text in came.said]
    seen = [text for text in (*SECRETS, *row.get("UNSEEN", ())) if text in came.page]
    found = [f"it shows {text!r}" for text in said] + [f"its page has {text!r}" for text in seen]
    if came.scores is not None and not came.page:
        found.append("no feedback page")
    if came.scores != row.scores:
        found.append(f"points {came.scores}, not {row.scores}")
    if came.codes != row.codes:
        found.append(f"codes {sorted(came.codes)}, not {sorted(row.codes)}")
    return found


def table(rows: Sequence[Row], outcome: Outcome) -> str:
    """All rows as text, and below it what went wrong."""
    lines = [_line(row, outcome.came[row.name]) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    told = ["  ".join(f"{t:{w}}" for t, w in zip(line, widths, strict=False)) for line in lines]
    problems = [f"{row.name}: {p}" for row in rows for p in wrong(row, outcome.came[row.name])]
    right = sum(not wrong(row, outcome.came[row.name]) for row in rows)
    return "\n".join([*told, "", f"{right} of {len(rows)} rows right, in {outcome.seconds:.0f} s.",
                      *problems])  # fmt: skip


def _line(row: Row, came: Came) -> tuple[str, str, str, str, str]:
    expected, got = _told(row.scores, row.codes), _told(came.scores, came.codes)
    verdict = "WRONG" if wrong(row, came) else ""
    return f"{row.group}/{row.name}", row.tries, expected, got, verdict


def _told(scores: dict[str, float] | None, codes: frozenset[str]) -> str:
    if scores is None:
        return "not taken in"
    return " ".join([f"{sum(scores.values()):g}/{sum(POINTS.values())}", *sorted(codes)])
