"""See a Python loop over tokens: it runs more lines of Python when there are more tokens."""

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from tutor_lib.checks.finished import BETWEEN

# What the parts on speed say of the answer.
LOOPS = "whether your code runs more lines of Python for more tokens"


def grows(call: Callable[[Any], Any], few: Any, many: Any, extra: int) -> bool:
    """Does `call` run more lines for `many` tokens than for `few`, which are `extra` fewer?

    A quarter of a line for each token more is a loop already: one over the places in a queue
    runs as often as the longest queue is long.
    """
    return lines_run(call, many) - lines_run(call, few) > extra / 4


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
