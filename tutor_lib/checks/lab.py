"""A lab: its exercises, which of them pass so far, and what a check prints."""

import contextlib
import hashlib
import os
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from tutor_lib.checks import observe
from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.finished import READY_MADE
from tutor_lib.checks.run import quiet


@runtime_checkable
class Checked(Protocol):
    """What a lab asks of a part of an exercise."""

    @property
    def name(self) -> str:
        """What the check is called."""

    @property
    def points(self) -> int:
        """What it is worth."""

    @property
    def lent(self) -> Mapping[str, Any]:
        """What stands in for the student's other answers."""

    def judge(self, see: observe.See, seed: int = 0) -> str | None:
        """Say what is wrong with the answer that `see` sees, or None."""


class NotYet(AssertionError):
    """A wrong answer. Jupyter shows the diagnosis alone, not the inside of the check."""

    def _render_traceback_(self) -> list[str]:
        return str(self).splitlines()


class Lab:
    """The exercises of one lab, and which of their parts pass so far."""

    def __init__(self, name: str, *exercises: Exercise | Checked) -> None:
        self.name = name
        self.exercises = {e.name: e for e in exercises if isinstance(e, Exercise)}
        every = [p for e in exercises for p in (e.parts if isinstance(e, Exercise) else [e])]
        self.parts: dict[str, Checked] = {part.name: part for part in every}
        self._lent = {exercise.name: exercise.lent for exercise in exercises}
        self.passed: set[str] = set()

    def check(self, name: str, student: Any) -> None:
        """Print the progress if the student's answer is right.

        Raises NotYet, an AssertionError, with the diagnosis if it is wrong, and ValueError if
        the lab has no part of that name.
        """
        if name not in self.parts:
            raise ValueError(f"no check {name!r} here; there are {', '.join(self.parts)}")
        self.passed.discard(name)
        if problem := self._problem(name, student):
            raise NotYet(f"✗ {name}: not yet.\n\n{_wrap(problem)}")
        self.passed.add(name)
        print(self._progress(name))

    def _problem(self, name: str, student: Any) -> str | None:
        there, part = observe.beside(student), self.parts[name]
        try:
            finished = getattr(getattr(part, "exercise", None), "finished", ())
            odd, origin = there(observe.glance)(student, finished)
            if odd:
                return f"{name} should be a function or a class; it is a {odd}."
            if origin:
                return READY_MADE.format(f"Your answer is {origin}")
            seed = self.seed(name)
            return part.judge(observe.seeing(student, seed, self.name), seed)
        except Exception as error:  # a student must never see the inside of a check
            return (
                "The check could not make sense of what your code returned "
                f"({type(error).__name__}: {str(error)[:200]}). Return plain tensors and numbers."
            )

    def seed(self, name: str) -> int:
        """The seed of this check's inputs: another for every student, the same for a regrade.

        It comes from TUTOR_SEED if that is set, else from the folder in which the notebook runs,
        which is autograded/<student>/<lab> when it is graded. So a value that is typed in from
        what the check printed is wrong there.
        """
        who = os.environ.get("TUTOR_SEED") or "/".join(Path.cwd().parts[-2:])
        digest = hashlib.sha256(f"{who}\n{self.name}\n{name}".encode()).digest()
        return int.from_bytes(digest[:6], "big")

    @contextlib.contextmanager
    def grading(self, name: str, student: Any) -> Iterator[observe.Beside]:
        """Let hidden tests use the answer to the exercise `name` alone, and quietly.

        The right parts stand in for the student's other answers, and a warning costs no points.
        What is yielded makes a function that can be imported run where the answer lives: it is
        for what cannot be handed to a call of the answer, such as a model, or seen in what it
        returns, such as a gradient.
        """
        there = observe.beside(student)
        with quiet():
            there(observe.lend)(student, self._lent[name])
            try:
                yield there
            finally:
                there(observe.take_back)()

    def _progress(self, name: str) -> str:
        earned = sum(self.parts[part].points for part in self.passed)
        total = sum(part.points for part in self.parts.values())
        bar = "■" * earned + "□" * (total - earned)
        points = self.parts[name].points
        worth = f"{points} point{'s' if points != 1 else ''}"
        # With a no-break space, so that a mark and its name stay on one line.
        parts = "   ".join(f"{'✓' if p in self.passed else '○'}\u00a0{p}" for p in self.parts)
        return f"✓ {name}: right, {worth}.\n{bar} {earned} of {total} points so far\n{_fill(parts)}"


def _wrap(text: str) -> str:
    return "\n\n".join(map(_fill, text.split("\n\n")))


def _fill(text: str) -> str:
    return textwrap.fill(text, 78, break_long_words=False, break_on_hyphens=False)
