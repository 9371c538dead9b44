"""Tell a student which mistake made an answer wrong.

A misconception is a wrong implementation whose docstring is the hint. The student's function
runs on random inputs; where it differs from the reference, the first misconception that
reproduces the student's own results is the diagnosis. Where none does, the difference is told.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch

from tutor_lib.checks.compare import agree, alike, difference, matches
from tutor_lib.checks.run import Outcome, run

Arguments = tuple[Any, ...]
Function = Callable[..., Any]


@dataclass(frozen=True)
class Misconception:
    """A well-known wrong implementation. Its name and its docstring are what is told."""

    wrong: Function

    @property
    def name(self) -> str:
        """What the misconception is called."""
        return self.wrong.__name__

    @property
    def hint(self) -> str:
        """What to tell a student who made it: what is seen, and where to look."""
        return " ".join((inspect.getdoc(self.wrong) or "").split())


@dataclass(frozen=True)
class Exercise:
    """One function to write: its reference, the inputs to try, the misconceptions to know.

    `cases` draws the inputs from a generator: distinct primes for sizes, so that mixed-up axes
    show, and moderate values, so that softmax does not saturate and hide a missing scale.
    `parts` names what the function returns, if that is a tuple. A law is given the result and
    the arguments and returns a complaint, or None; it is asked when type and shape are right
    and no misconception fits.
    """

    name: str
    points: int
    reference: Function
    cases: Callable[[torch.Generator], list[Arguments]]
    parts: tuple[str, ...] = ()
    laws: tuple[Function, ...] = ()
    misconceptions: list[Misconception] = field(default_factory=list)

    def misconception(self, wrong: Function) -> Function:
        """Add a wrong implementation; its docstring is the hint. Use as a decorator."""
        self.misconceptions.append(Misconception(wrong))
        return wrong

    def diagnose(self, student: Function, seed: int = 0) -> str | None:
        """Say what is wrong with the student's function, or None if it is right."""
        cases = self.cases(torch.Generator().manual_seed(seed))
        theirs = [run(student, case) for case in cases]
        ours = [run(self.reference, case) for case in cases]
        for case, outcome, expected in zip(cases, theirs, ours, strict=True):
            if outcome.unwritten:
                return outcome.stub(self.name)
            if outcome.changed:
                return self._tell_change(case, outcome)
            if not _right(outcome, expected):
                misconception = self._reproduced(theirs, ours, cases)
                return self._tell(case, outcome, expected, misconception)
        return None

    def _reproduced(
        self, theirs: list[Outcome], ours: list[Outcome], cases: list[Arguments]
    ) -> Misconception | None:
        """Find the first misconception that gives the student's results on every input."""
        for misconception in self.misconceptions:
            wrong = [run(misconception.wrong, case) for case in cases]
            if _same(theirs, wrong, ours):
                return misconception
        return None

    def _tell(
        self,
        case: Arguments,
        outcome: Outcome,
        expected: Outcome,
        misconception: Misconception | None,
    ) -> str:
        called = f"Called with {self._describe(case)}:"
        if outcome.error is not None:
            seen = f"{called} {outcome.where()}"
        else:
            seen = f"{called} {difference(expected.value, outcome.value, self.parts)}"
        if misconception is not None:
            return f"{misconception.hint}\n\n{seen}"
        if not alike(expected.value, outcome.value):
            return seen
        broken = [law(outcome.value, *case) for law in self.laws]
        return "\n\n".join([seen, *filter(None, broken)])

    def _tell_change(self, case: Arguments, outcome: Outcome) -> str:
        name = list(inspect.signature(self.reference).parameters)[outcome.changed[0]]
        return (
            f"Your function changes its argument {name}: afterwards, the caller's tensor holds "
            "other values. Look for +=, -=, /=, an assignment to a slice, or a method that ends "
            "in an underscore, and make a new tensor instead.\n\n"
            f"Called with {self._describe(case)}."
        )

    def _describe(self, case: Arguments) -> str:
        names = inspect.signature(self.reference).parameters
        return ", ".join(_show(*pair) for pair in zip(names, case, strict=False))


def _show(name: str, value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return f"{name} = {value}"
    kind = "" if value.dtype == torch.float32 else f" {str(value.dtype).removeprefix('torch.')}"
    return f"{name}{kind} {tuple(value.shape)}"


def _right(outcome: Outcome, expected: Outcome) -> bool:
    return outcome.error is None and agree(expected.value, outcome.value)


def _same(theirs: Iterable[Outcome], wrong: Iterable[Outcome], ours: Iterable[Outcome]) -> bool:
    """Do these results come from this misconception?

    Values must match on every input, errors in their type. At least one input must tell the
    misconception from the reference by its values, or else by the very same error message.
    """
    told = False
    for their, its, our in zip(theirs, wrong, ours, strict=True):
        if (their.error is None) != (its.error is None):
            return False
        if their.error is not None:
            if type(their.error) is not type(its.error):
                return False
            told |= str(their.error) == str(its.error)
        elif not matches(its.value, their.value):
            return False
        else:
            told |= not agree(our.value, their.value)
    return told


@runtime_checkable
class Part(Protocol):
    """What a lab asks of an exercise."""

    @property
    def name(self) -> str:
        """The name of the function to write."""

    @property
    def points(self) -> int:
        """What it is worth."""

    def diagnose(self, student: Function, seed: int = 0) -> str | None:
        """Say what is wrong, or None."""


class NotYet(AssertionError):
    """A wrong answer. Jupyter shows the diagnosis alone, not the inside of the check."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


class Lab:
    """The exercises of one lab, and which of them pass so far."""

    def __init__(self, *parts: Part) -> None:
        self.parts = {part.name: part for part in parts}
        self.passed: set[str] = set()

    def check(self, name: str, student: Function, seed: int = 0) -> None:
        """Print the progress if the student's function is right.

        Raises NotYet, an AssertionError, with the diagnosis if it is wrong, and ValueError if
        the lab has no exercise of that name.
        """
        if name not in self.parts:
            raise ValueError(f"no exercise {name!r} here; there are {', '.join(self.parts)}")
        self.passed.discard(name)
        if problem := self.parts[name].diagnose(student, seed):
            raise NotYet(f"✗ {name}: not yet.\n\n{_wrap(problem)}")
        self.passed.add(name)
        print(self._progress(name))

    def _progress(self, name: str) -> str:
        points = {part: self.parts[part].points for part in self.parts}
        earned, total = sum(points[part] for part in self.passed), sum(points.values())
        bar = "■" * earned + "□" * (total - earned)
        rest = [part for part in points if part not in self.passed]
        after = f"Still to do: {', '.join(rest)}." if rest else "All checked parts pass."
        worth = f"{points[name]} point{'s' if points[name] != 1 else ''}"
        return f"✓ {name}: right, {worth}.\n{bar} {earned} of {total} points so far. {after}"


def _wrap(text: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n\n".join(textwrap.fill(p, 78, break_long_words=False) for p in paragraphs)
