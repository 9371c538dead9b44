"""What the checks of the rolling cache do with a student's class."""

from typing import Any

from torch import Tensor

from tutor_lib.checks.diagnose import Arguments
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.kv_cache import held
from tutor_lib.checks.run import Complaint

STEPS = (
    "the keys after the first token",
    "the keys when the window is just full",
    "the keys one token later",
    "the values one token later",
    "the keys at the end",
    "the length at the end",
)
CHUNKS = (
    *(f"the {what} of update {i}" for i in (1, 2, 3) for what in ("keys", "values")),
    "the length",
)


def _made(student: Any, k: Tensor, window: int) -> Any:
    return student(k.size(0), k.size(1), window, k.size(3), k.dtype, k.device)


def steps(draw: Draw) -> list[Arguments]:
    """Keys and values of a text, and the window."""
    return [
        (draw(1, 2, 9, 4), draw(1, 2, 9, 4), 4),  # (B, K, T, D), W
        (draw(2, 3, 23, 5), draw(2, 3, 23, 5), 7),
        (draw(3, 1, 11, 2).double(), draw(3, 1, 11, 2).double(), 2),
        (draw(2, 2, 7, 3), draw(2, 2, 7, 3), 5),
        (draw(1, 3, 5, 2), draw(1, 3, 5, 2), 1),  # nothing is kept
    ]


def step(student: Any, k: Tensor, v: Tensor, window: int) -> Any:
    """One token at a time, up to the edge and past it."""
    cache = _made(student, k, window)
    seen = [held.updated(cache, k[:, :, t : t + 1], v[:, :, t : t + 1]) for t in range(k.size(2))]
    _bounded(cache, k, window)
    first, full, past = seen[0], seen[window - 1], seen[window]
    return first[0], full[0], *past, seen[-1][0], held.length(cache)


def _bounded(cache: Any, k: Tensor, window: int) -> None:
    """Raise Complaint if more than two windows are held; k is long enough to tell."""
    one = 2 * k[:, :, :1].numel() * window
    if (there := held.numbers(cache)) > 2 * one and k.size(2) > 2 * window:
        raise Complaint(
            f"After {k.size(2)} tokens your cache holds {there} numbers, but the keys and values "
            f"of a window of {window} are {one}. What no query will look at again must go."
        )


def chunks(draw: Draw) -> list[Arguments]:
    """Keys and values, the window, and how many come at once."""
    return [
        (draw(1, 2, 9, 4), draw(1, 2, 9, 4), 4, (6, 1, 2)),  # a prompt longer than the window
        (draw(2, 3, 17, 5), draw(2, 3, 17, 5), 7, (3, 11, 3)),
        (draw(3, 1, 11, 2).double(), draw(3, 1, 11, 2).double(), 3, (3, 3, 5)),
        (draw(2, 2, 7, 3), draw(2, 2, 7, 3), 11, (2, 2, 3)),
        (draw(1, 3, 7, 2), draw(1, 3, 7, 2), 1, (2, 1, 4)),  # nothing is kept
    ]


def chunk(student: Any, k: Tensor, v: Tensor, window: int, sizes: tuple[int, ...]) -> Any:
    """What three updates of several tokens return."""
    cache = _made(student, k, window)
    parts = zip(k.split(sizes, dim=2), v.split(sizes, dim=2), strict=True)
    seen: list[Tensor] = []
    for part in parts:
        seen += held.updated(cache, *part)
        _bounded(cache, k, window)
    return *seen, held.length(cache)
