"""Tell a student which mistake made an answer wrong.

A misconception is a wrong implementation whose docstring is the hint. The student's answer
runs on random inputs; where it differs from the reference, the first misconception that
reproduces the student's own results is the diagnosis. Where none does, the difference is told.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from tutor_lib.checks import probe
from tutor_lib.checks.compare import agree, alike, difference, matches
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.finished import READY_MADE, Watch
from tutor_lib.checks.run import Outcome, run, standing_in

Arguments = tuple[Any, ...]
Function = Callable[..., Any]
Cases = Callable[[Draw], list[Arguments]]


def call(student: Function, *arguments: Any) -> Any:
    """Use a function by calling it."""
    return student(*arguments)


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
class Trial:
    """One input, what the student's answer made of it, and what the reference did."""

    case: Arguments
    theirs: Outcome
    ours: Outcome

    @property
    def right(self) -> bool:
        """Is the student's result the right one?"""
        return self.theirs.error is None and agree(self.ours.value, self.theirs.value)


@dataclass(frozen=True)
class Exercise:
    """One function or class to write: its reference and the misconceptions to know.

    `uses` are the exercises whose answers this one may call: while it is checked, their
    references stand in for them. `finished` names the functions that would be the answer
    ready-made (softmax, say); `welcome` the modules of this library that an answer may call.
    `learns` is False where no gradient needs to flow.
    """

    name: str
    reference: Any
    uses: tuple["Exercise", ...] = ()
    finished: tuple[str, ...] = ()
    welcome: tuple[str, ...] = ()
    learns: bool = True
    parts: list["Part"] = field(default_factory=list)
    misconceptions: list[Misconception] = field(default_factory=list)

    def misconception(self, wrong: Any) -> Any:
        """Add a wrong implementation; its docstring is the hint. Use as a decorator."""
        self.misconceptions.append(Misconception(wrong))
        return wrong

    def part(
        self,
        name: str,
        points: int,
        cases: Cases,
        drive: Function = call,
        results: tuple[str, ...] = (),
        laws: tuple[Function, ...] = (),
    ) -> "Part":
        """Add something to check of the answer, with points of its own; see `Part`."""
        part = Part(self, name, points, cases, drive, results, laws)
        self.parts.append(part)
        return part

    @property
    def lent(self) -> dict[str, Any]:
        """What stands in for the student's other answers."""
        return {exercise.name: exercise.reference for exercise in self.uses}


@dataclass(frozen=True)
class Part:
    """What one check asks of an exercise.

    `cases` draws the inputs: the first of the sizes that the exercise's text shows, the others
    of distinct primes, so that mixed-up axes show; moderate values, so that softmax does not
    saturate and hide a missing scale. `drive(student, *case)` uses the answer: calls it, or
    builds an object and works with it. `results` names what comes of that, if it is a tuple. A
    law is given the result and the case and returns a complaint, or None; it is asked when type
    and shape are right and no misconception fits.
    """

    exercise: Exercise
    name: str
    points: int
    cases: Cases
    drive: Function = call
    results: tuple[str, ...] = ()
    laws: tuple[Function, ...] = ()

    def diagnose(self, student: Any, seed: int = 0) -> str | None:
        """Say what is wrong with the student's answer, or None if it is right."""
        watch = Watch(self.exercise.finished, self.exercise.welcome, self.exercise.lent.values())
        with standing_in(student, self.exercise.lent):
            cases = self._draw(seed)
            theirs = [run(watch.over(self._driven(student)), case) for case in cases]
            if watch.seen:
                return READY_MADE.format(f"You call {watch.seen}")
            ours = [run(self._driven(self.exercise.reference), case) for case in cases]
            trials = [Trial(*trial) for trial in zip(cases, theirs, ours, strict=True)]
            told = self._first_wrong(student, trials, seed)
            return told or self._beyond_values(student, cases[0])

    def _draw(self, seed: int) -> list[Arguments]:
        return self.cases(Draw(torch.Generator().manual_seed(seed)))

    def _driven(self, student: Any) -> Function:
        return lambda *arguments: self.drive(student, *arguments)

    def _first_wrong(self, student: Any, trials: list[Trial], seed: int) -> str | None:
        for trial in trials:
            if trial.theirs.unwritten:
                return trial.theirs.stub(self.exercise.name, dir(self.exercise.reference))
            if trial.theirs.changed:
                return self._tell_change(trial)
            if not trial.right:
                misconception = self._reproduced(student, trials, seed)
                return self._tell(trial, misconception, trials[0])
        return None

    def _reproduced(self, student: Any, trials: list[Trial], seed: int) -> Misconception | None:
        """Find the misconception that gives the student's results on every input.

        Where several do, the exercise's other parts decide; where they do not, the first.
        """
        fitting = [m for m in self.exercise.misconceptions if self._fits(m, trials)]
        others = [part for part in self.exercise.parts if part is not self]
        if len(fitting) > 1 and others:
            for misconception in fitting:
                if all(part._confused(student, misconception, seed) for part in others):
                    return misconception
        return fitting[0] if fitting else None

    def _fits(self, misconception: Misconception, trials: list[Trial]) -> bool:
        """Do the results come from it, and does one of them tell it from the reference?"""
        told = False
        for trial in trials:
            its = run(self._driven(misconception.wrong), trial.case)
            if not _alike(trial.theirs, its):
                return False
            told |= _tells(trial, its)
        return told

    def _confused(self, student: Any, misconception: Misconception, seed: int) -> bool:
        """Does this part see no difference between the answer and the misconception?"""
        both = [self._driven(student), self._driven(misconception.wrong)]
        return all(_alike(*(run(f, case) for f in both)) for case in self._draw(seed))

    def _beyond_values(self, student: Any, case: Arguments) -> str | None:
        """Say what a gradient or a GPU would find, now that all values are right."""
        ours, theirs = self._driven(self.exercise.reference), self._driven(student)
        if self.exercise.learns and (problem := probe.learns(ours, theirs, case, self._names())):
            return problem
        return probe.moves(theirs, case)

    def _tell(self, trial: Trial, misconception: Misconception | None, first: Trial) -> str:
        called = f"Called with {self._describe(trial.case)}:"
        theirs, ours = trial.theirs, trial.ours
        if theirs.error is not None:
            seen = f"{called} {theirs.where()}{self._lending(theirs)}"
        else:
            seen = f"{called} {difference(ours.value, theirs.value, self.results)}"
        if misconception is not None:
            return f"{misconception.hint}\n\n{seen}"
        laws = self.laws if alike(ours.value, theirs.value) else ()
        broken = [told for law in laws if (told := law(theirs.value, *trial.case))]
        return "\n\n".join([seen, *(broken or self._where_right(first, trial))])

    def _lending(self, outcome: Outcome) -> str:
        """Who has given an earlier answer an attribute of its own misses it in what stands in."""
        if not (isinstance(outcome.error, AttributeError) and self.exercise.uses):
            return ""
        names = " and ".join(self.exercise.lent)
        return (
            f"\n\nWhile this is checked, right versions of {names} stand in for yours. They have "
            "what their exercises name, and nothing else of yours."
        )

    def _tell_change(self, trial: Trial) -> str:
        name = self._names()[trial.theirs.changed[0]]
        return (
            f"Your code changes its argument {name}: afterwards, the caller's tensor holds other "
            "values. Look for +=, -=, /=, an assignment to a slice, or a method that ends in an "
            "underscore, and make a new tensor instead.\n\n"
            f"Called with {self._describe(trial.case)}."
        )

    def _where_right(self, first: Trial, trial: Trial) -> list[str]:
        """What the first case, of the sizes in the text, being right says of this one."""
        if not first.right:
            return []
        if _dtypes(trial.case) != _dtypes(first.case):
            return ["It is right in float32. Does a tensor that you make have a dtype of its own?"]
        right = self._describe(first.case)
        return [f"It is right with {right}. Is a size written into your code as a number?"]

    def _names(self) -> list[str]:
        """What the arguments of a case are called."""
        if self.drive is call:
            return list(inspect.signature(self.exercise.reference).parameters)
        return list(inspect.signature(self.drive).parameters)[1:]

    def _describe(self, case: Arguments) -> str:
        return ", ".join(filter(None, map(_show, self._names(), case)))


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


def _alike(their: Outcome, its: Outcome) -> bool:
    """Are these the same result, errors being equal in their type?"""
    if their.error is not None or its.error is not None:
        return type(their.error) is type(its.error)
    return matches(its.value, their.value)


def _tells(trial: Trial, its: Outcome) -> bool:
    """Does this input tell a mistake from the reference: by value, or by the very same error?"""
    if trial.theirs.error is not None:
        return str(trial.theirs.error) == str(its.error)
    return not (trial.right or agree(trial.ours.value, its.value))
