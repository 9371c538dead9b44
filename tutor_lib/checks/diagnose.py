"""Tell a student which mistake made an answer wrong.

A misconception is a wrong implementation whose docstring is the hint. The student's answer
runs on random inputs; where it differs from the reference, the first misconception that
reproduces the student's own results is the diagnosis. Where none does, the difference is told.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tutor_lib.checks import observe, probe
from tutor_lib.checks.draw import Draw, seeded
from tutor_lib.checks.finished import READY_MADE, Watch
from tutor_lib.checks.run import Outcome, run
from tutor_lib.checks.tell import Words
from tutor_lib.checks.trial import Arguments, Trial, alike

Function = Callable[..., Any]
Cases = Callable[[Draw], list[Arguments]]


def call(student: Function, *arguments: Any) -> Any:
    """Use a function by calling it."""
    return student(*arguments)


def as_it_is(result: Any, *case: Any) -> Any:
    """Compare what comes of an answer itself."""
    return result


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
        reading: Function = as_it_is,
    ) -> "Part":
        """Add something to check of the answer, with points of its own; see `Part`."""
        part = Part(self, name, points, cases, drive, results, laws, reading)
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
    builds an object and works with it. It runs where the answer lives, and returns numbers;
    `reading(result, *case)` makes of them what is compared. `results` names what that is, if it
    is a tuple. Both may raise Complaint. A law is given the result and the case and returns a
    complaint, or None; it is asked when type and shape are right and no misconception fits.
    """

    exercise: Exercise
    name: str
    points: int
    cases: Cases
    drive: Function = call
    results: tuple[str, ...] = ()
    laws: tuple[Function, ...] = ()
    reading: Function = as_it_is

    @property
    def lent(self) -> dict[str, Any]:
        """What stands in for the student's other answers."""
        return self.exercise.lent

    def diagnose(self, student: Any, seed: int = 0) -> str | None:
        """Say what is wrong with an answer in this process, or None if it is right."""
        return self.judge(observe.seeing(student, seed), seed)

    # --- beside the answer ----------------------------------------------------------------------

    def calls(self, student: Any, seed: int) -> tuple[list[Any], str | None]:
        """What comes of each case, told plainly, and which finished thing the answer calls."""
        watch = Watch(self.exercise.finished, self.exercise.welcome, self.lent.values())
        driven = watch.over(self._driven(student))
        with observe.standing_in(student, self.lent):
            return [run(driven, case).plain() for case in self._draw(seed)], watch.seen

    def beyond(self, student: Any, seed: int) -> tuple[Any, Any]:
        """What goes back as a gradient through the first case, and what a GPU would say of it."""
        driven, case = self._driven(student), self._draw(seed)[0]
        with observe.standing_in(student, self.lent):
            back = probe.back(driven, case) if self.exercise.learns else None
            return back, probe.moved(driven, case)

    # --- in the judge ---------------------------------------------------------------------------

    def judge(self, see: observe.See, seed: int = 0) -> str | None:
        """Say what is wrong with the answer that `see` sees, or None if it is right."""
        cases = self._draw(seed)
        outcomes, finished = see(self, "calls")
        if finished:
            return READY_MADE.format(f"You call {finished}")
        theirs = self._read(outcomes, cases)
        ours = [self._tried(self.exercise.reference, case) for case in cases]
        trials = [Trial(*trial) for trial in zip(cases, theirs, ours, strict=True)]
        return self._first_wrong(trials, see, seed) or self._beyond_values(see, cases[0])

    def _read(self, outcomes: list[Any], cases: list[Arguments]) -> list[Outcome]:
        """What is to be compared, of what was told of the answer."""
        pairs = zip(outcomes, cases, strict=True)
        return [self._reading(Outcome.told(*plain), case) for plain, case in pairs]

    def _reading(self, outcome: Outcome, case: Arguments) -> Outcome:
        if outcome.error or self.reading is as_it_is:
            return outcome
        read = run(self.reading, (outcome.value, *case))
        return Outcome(read.value, read.error, outcome.changed)

    def _tried(self, function: Any, case: Arguments) -> Outcome:
        """What comes of one of our own functions, read like the student's."""
        return self._read([run(self._driven(function), case).plain()], [case])[0]

    def _draw(self, seed: int) -> list[Arguments]:
        return self.cases(seeded(seed))

    def _driven(self, student: Any) -> Function:
        return lambda *arguments: self.drive(student, *arguments)

    def _first_wrong(self, trials: list[Trial], see: observe.See, seed: int) -> str | None:
        for trial in trials:
            error = trial.theirs.error
            if error and error.unwritten:
                return error.stub(self.exercise.name, dir(self.exercise.reference))
            if trial.theirs.changed:
                return self._words.change(trial)
            if not trial.right:
                misconception = self._reproduced(trials, see, seed)
                hint = misconception.hint if misconception else None
                return self._words.tell(trial, hint, trials[0])
        return None

    def _reproduced(self, trials: list[Trial], see: observe.See, seed: int) -> Misconception | None:
        """Find the misconception that gives the student's results on every input.

        Where several do, the exercise's other parts decide; where they do not, the first.
        """
        fitting = [m for m in self.exercise.misconceptions if self._fits(m, trials)]
        others = [part for part in self.exercise.parts if part is not self]
        if len(fitting) > 1 and others:
            seen = [(part, see(part, "calls")[0]) for part in others]
            for misconception in fitting:
                if all(part._confused(told, misconception, seed) for part, told in seen):
                    return misconception
        return fitting[0] if fitting else None

    def _fits(self, misconception: Misconception, trials: list[Trial]) -> bool:
        """Do the results come from it, and does one of them tell it from the reference?"""
        told = False
        for trial in trials:
            its = self._tried(misconception.wrong, trial.case)
            if not alike(trial.theirs, its):
                return False
            told |= trial.told_by(its)
        return told

    def _confused(self, outcomes: list[Any], misconception: Misconception, seed: int) -> bool:
        """Does this part see no difference between the answer and the misconception?"""
        cases = self._draw(seed)
        pairs = zip(self._read(outcomes, cases), cases, strict=True)
        return all(alike(theirs, self._tried(misconception.wrong, c)) for theirs, c in pairs)

    def _beyond_values(self, see: observe.See, case: Arguments) -> str | None:
        """Say what a gradient or a GPU would find, now that all values are right."""
        back, moved = see(self, "beyond")
        if self.exercise.learns:
            ours = probe.back(self._driven(self.exercise.reference), case)
            if problem := probe.learns(ours, back, self._names()):
                return problem
        return probe.moves(moved)

    @property
    def _words(self) -> Words:
        return Words(self._names(), self.results, self.laws, tuple(self.lent))

    def _names(self) -> list[str]:
        """What the arguments of a case are called."""
        if self.drive is call:
            return list(inspect.signature(self.exercise.reference).parameters)
        return list(inspect.signature(self.drive).parameters)[1:]
