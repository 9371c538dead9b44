"""Say what a trial of an answer has shown."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tutor_lib.checks.compare import alike, difference
from tutor_lib.checks.run import Raised
from tutor_lib.checks.trial import Arguments, Trial


@dataclass(frozen=True)
class Words:
    """What the arguments and the results of a part are called, its laws, and what it is lent."""

    arguments: Sequence[str]
    results: Sequence[str]
    laws: Sequence[Callable[..., str | None]]
    lent: Sequence[str]

    def tell(self, trial: Trial, hint: str | None, first: Trial) -> str:
        """What is wrong in this trial; `hint` is that of the mistake, if it is a known one."""
        called = f"Called with {self.describe(trial.case)}:"
        theirs, ours = trial.theirs, trial.ours
        if theirs.error is not None:
            seen = f"{called} {theirs.error.where()}{self._lending(theirs.error)}"
        else:
            seen = f"{called} {difference(ours.value, theirs.value, self.results)}"
        if hint is not None:
            return f"{hint}\n\n{seen}"
        laws = self.laws if alike(ours.value, theirs.value) else ()
        broken = [told for law in laws if (told := law(theirs.value, *trial.case))]
        return "\n\n".join([seen, *(broken or self._where_right(first, trial))])

    def _lending(self, error: Raised) -> str:
        """Who has given an earlier answer an attribute of its own misses it in what stands in."""
        if not (error.is_a(AttributeError) and self.lent):
            return ""
        return (
            f"\n\nWhile this is checked, right versions of {' and '.join(self.lent)} stand in for "
            "yours. They have what their exercises name, and nothing else of yours."
        )

    def change(self, trial: Trial) -> str:
        """That an argument was changed."""
        name = self.arguments[trial.theirs.changed[0]]
        return (
            f"Your code changes its argument {name}: afterwards, the caller's tensor holds other "
            "values. Look for +=, -=, /=, an assignment to a slice, or a method that ends in an "
            "underscore, and make a new tensor instead.\n\n"
            f"Called with {self.describe(trial.case)}."
        )

    def _where_right(self, first: Trial, trial: Trial) -> list[str]:
        """What the first case, of the sizes in the text, being right says of this one."""
        if not first.right:
            return []
        if _dtypes(trial.case) != _dtypes(first.case):
            return ["It is right in float32. Does a tensor that you make have a dtype of its own?"]
        right = self.describe(first.case)
        return [f"It is right with {right}. Is a size written into your code as a number?"]

    def describe(self, case: Arguments) -> str:
        """The arguments by name, with their sizes or values."""
        return ", ".join(filter(None, map(_show, self.arguments, case)))


def _dtypes(case: Arguments) -> set[torch.dtype]:
    """In what the floating-point arguments are."""
    tensors = [a for a in case if isinstance(a, torch.Tensor)]
    return {t.dtype for t in tensors if t.is_floating_point()}


def _show(name: str, value: Any) -> str:
    """A value as an error message names it; what is too long to be told is left out."""
    if inspect.isroutine(value):
        return f"{name} = {value.__name__}"
    if not hasattr(value, "shape"):
        return f"{name} = {value}" if len(str(value)) <= 60 else ""
    dtype = str(value.dtype).removeprefix("torch.")
    kind = "" if dtype == "float32" else f" {dtype}"
    return f"{name}{kind} {tuple(value.shape)}"
