"""Run a student's function: quietly, on copies, and keep what came of it."""

import contextlib
import copy
import inspect
import linecache
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Frames in these folders are not the student's: Python's own files, its packages, this library.
_FOLDERS = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
_OTHERS = tuple(str(Path(f).resolve()) for f in [*_FOLDERS, str(Path(__file__).parents[1])])


class Complaint(Exception):
    """What is wrong with the make-up of an answer, in words for the student."""


@dataclass(frozen=True)
class Outcome:
    """What a call returned or raised, and the positions of the arguments it changed."""

    value: Any = None
    error: BaseException | None = None
    changed: tuple[int, ...] = ()

    @property
    def unwritten(self) -> bool:
        """The stub is still there."""
        # PyTorch raises it too, for a missing forward or dtype; but never without a word.
        return isinstance(self.error, NotImplementedError) and not str(self.error)

    def stub(self, name: str, methods: Collection[str] = ()) -> str:
        """What to say when a stub is left: the answer `name`, one of its methods, or another."""
        frame = self._frame()
        who = "It is"
        if frame and frame.name in methods and frame.name != "__init__":
            who = f"Its {frame.name} is"
        elif frame and frame.name not in (name, "__init__"):
            who = f"It calls {frame.name}, which is"
        return f"{who} not written yet. Your code goes in place of the line that raises the error."

    def where(self) -> str:
        """The error, and the line of the student's code that raised it."""
        if isinstance(self.error, Complaint):
            return str(self.error)
        # Some of PyTorch's messages go on for pages; the first line says it.
        first = next(iter(str(self.error).splitlines()), "(no message)")[:300]
        return f"your code raised {type(self.error).__name__}: {first}{self.place()}"

    def place(self) -> str:
        """The line of the student's code that raised the error, as a paragraph, or nothing."""
        if not (frame := self._frame()):
            return ""
        line = linecache.getline(frame.filename, frame.lineno or 0).strip()
        return f"\n\nIt happened in {frame.name}, line {frame.lineno} of its cell: {line}"

    def _frame(self) -> traceback.FrameSummary | None:
        """The innermost frame that is the student's own."""
        frames = traceback.extract_tb(self.error.__traceback__) if self.error else []
        own = [f for f in frames if not str(Path(f.filename).resolve()).startswith(_OTHERS)]
        return own[-1] if own else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Show no warnings and send what is written to stderr to stdout.

    nbgrader scores a test cell that writes to stderr as failed, and a warning is not a mistake.
    """
    with warnings.catch_warnings(), contextlib.redirect_stderr(sys.stdout):
        warnings.simplefilter("ignore")
        yield


def run(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Outcome:
    """Call `function` on copies of `arguments`, so that it cannot spoil them for the next call."""
    copies = tuple(map(_copy, arguments))
    with quiet():
        try:
            value = function(*copies)
        except (Exception, SystemExit) as error:
            return Outcome(error=error)
    pairs = enumerate(zip(arguments, copies, strict=True))
    return Outcome(value, changed=tuple(i for i, (old, new) in pairs if _differ(old, new)))


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


def _copy(argument: Any) -> Any:
    if isinstance(argument, torch.Tensor):
        return argument.clone()
    return argument if callable(argument) else copy.deepcopy(argument)


def _differ(old: Any, new: Any) -> bool:
    if isinstance(old, np.ndarray):
        return old.shape != new.shape or not np.array_equal(old, new, equal_nan=True)
    if not isinstance(old, torch.Tensor):
        return False
    return old.shape != new.shape or not torch.allclose(old, new, rtol=0, atol=0, equal_nan=True)
