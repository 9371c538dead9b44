"""See what an answer does, where the answer lives.

In JupyterLab that is this process. When a class is graded, the checks run in a judge's kernel, the
answer in the student's, and what stands for it here is a proxy. A proxy's `__beside__` runs a
function that can be imported in the student's kernel, beside the real answer.

So a check has two halves. The first observes: it draws the inputs, calls the answer, and tells in
plain words what came of it. It runs beside the answer. The second judges: it draws the same inputs,
works out what is right, and compares. It runs here. A student who rewrites these modules in his own
kernel can change the first half alone: what he has it tell must still be the right numbers and the
right gradients. Three things he can hide, for they can be seen only where the answer runs: that it
calls the finished thing, that it changes its arguments, and that it would fail on a GPU. The same
holds for the counts of lines and of products.
"""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tutor_lib.checks.finished import ready_made
from tutor_lib.checks.run import quiet

Beside = Callable[[Callable[..., Any]], Callable[..., Any]]
# What the method of this name, of a part of an exercise, sees of the answer.
See = Callable[[Any, str], Any]


def here(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it is: what runs beside an answer that is in this process."""
    return function


def beside(student: Any) -> Beside:
    """What makes a function run where the student's answer lives."""
    there = getattr(type(student), "__beside__", None)
    return here if there is None else lambda function: there(student, function)


def seeing(student: Any, seed: int, lab: str = "") -> See:
    """How to see the answer; in another process, parts are found in the lab of this name."""
    there = beside(student)
    if there is here:
        return lambda part, what: getattr(part, what)(student, seed)
    return lambda part, what: there(look)(student, lab, part.name, what, seed)


def look(student: Any, lab: str, part: str, what: str, seed: int) -> Any:
    """Let a part of a lab observe the answer. Runs beside it."""
    parts = importlib.import_module(f"tutor_lib.checks.{lab}").LAB.parts
    return getattr(parts[part], what)(student, seed)


def glance(student: Any, finished: Sequence[str]) -> tuple[str | None, str | None]:
    """The type of an answer that cannot be called, and where a ready-made one comes from."""
    if not callable(student):
        return type(student).__name__, None
    return None, ready_made(student, finished)


@contextlib.contextmanager
def standing_in(student: Any, others: Mapping[str, Any]) -> Iterator[None]:
    """Let the right parts stand in for those that `student` finds under their names.

    So a mistake in one exercise costs nothing in the next, which calls it.
    """
    names = _globals(student)
    before = {name: names[name] for name in others if name in names}
    names.update({name: others[name] for name in before})
    try:
        yield
    finally:
        names.update(before)


def _globals(student: Any) -> dict[str, Any]:
    """The names that a function, or the methods of a class, can see."""
    members = [*vars(student).values()] if inspect.isclass(student) else [student]
    for member in members:
        if (names := getattr(inspect.unwrap(member), "__globals__", None)) is not None:
            return names
    return {}


_lent: list[contextlib.ExitStack] = []


def lend(student: Any, others: Mapping[str, Any]) -> None:
    """`standing_in`, and quiet, from now on until `take_back`. Runs beside the answer."""
    stack = contextlib.ExitStack()
    stack.enter_context(quiet())
    stack.enter_context(standing_in(student, others))
    _lent.append(stack)


def take_back() -> None:
    """Undo the last `lend`. Runs beside the answer."""
    _lent.pop().close()
