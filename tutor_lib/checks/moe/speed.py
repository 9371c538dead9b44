"""See a Python loop over tokens: it runs more lines of Python when there are more tokens."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from torch.overrides import TorchFunctionMode

from tutor_lib.checks.finished import BETWEEN

# What the parts on speed say of the answer.
LOOPS = "whether your code runs more lines of Python for more tokens"


def grows(call: Callable[[Any], Any], few: Any, many: Any, extra: int) -> bool:
    """Does `call` run more lines for `many` tokens than for `few`, which are `extra` fewer?

    A quarter of a line for each token more is a loop already: one over the places in a queue
    runs as often as the longest queue is long.
    """
    return any(cost(call, many) - cost(call, few) > extra / 4 for cost in (lines_run, calls_made))


class _Calls(TorchFunctionMode):
    """Counts the calls of PyTorch: `map` may make them without a line of Python."""

    count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def calls_made(call: Callable[[Any], Any], argument: Any) -> int:
    """How often `call(argument)` calls PyTorch."""
    with _Calls() as calls:
        call(argument)
    return calls.count


def lines_run(call: Callable[[Any], Any], argument: Any) -> int:
    """How many lines of Python `call(argument)` runs, those of PyTorch and of Python left out.

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
        call(argument)
    finally:
        sys.settrace(before)
    return count
