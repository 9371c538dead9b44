"""See a Python loop over tokens: it runs more lines of Python when there are more tokens."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

from tutor_lib.checks.finished import BETWEEN

# What the parts on speed say of the answer.
LOOPS = "whether your code runs more lines of Python for more tokens"


def more(student: Callable[..., Any], few: Any, many: Any) -> tuple[int, int]:
    """How many more lines, and calls of PyTorch, `student(*many)` takes than `student(*few)`.

    Runs beside the answer.
    """
    lines = lines_run(student, many) - lines_run(student, few)
    return lines, calls_made(student, many) - calls_made(student, few)


def loops(more: tuple[int, int], extra: int) -> bool:
    """Is so much more, for `extra` tokens more, a loop over the tokens?

    A quarter of a line for each of them is one already: a loop over the places in a queue runs
    as often as the longest queue is long.
    """
    return max(more) > extra / 4


class _Calls(TorchFunctionMode):
    """Counts the calls of PyTorch: `map` may make them without a line of Python."""

    count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def calls_made(call: Callable[..., Any], arguments: Any) -> int:
    """How often `call(*arguments)` calls PyTorch."""
    with _Calls() as calls:
        call(*arguments)
    return calls.count


def lines_run(call: Callable[..., Any], arguments: Any) -> int:
    """How many lines of Python `call(*arguments)` runs, those of PyTorch and of Python left out.

    A comprehension and a lambda count like a loop: each of their rounds is a line that runs.
    """
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if str(frame.f_globals.get("__name__", "")).split(".")[0] in BETWEEN:
            return None
        count += event in ("call", "line")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call(*arguments)
    finally:
        sys.settrace(before)
    return count
