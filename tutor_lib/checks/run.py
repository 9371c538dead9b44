"""Run a student's function: quietly, on copies, and keep what came of it."""

import contextlib
import copy
import linecache
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tutor_lib.checks.plain import Plain, pack, unpack

# Frames in these folders are not the student's: Python's own files, its packages, this library.
_FOLDERS = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
_OTHERS = tuple(str(Path(f).resolve()) for f in [*_FOLDERS, str(Path(__file__).parents[1])])


class Complaint(Exception):
    """What is wrong with the make-up of an answer, in words for the student."""


@dataclass(frozen=True)
class Raised:
    """An error in plain words: what it is, what it says, and the student's line that raised it."""

    kinds: tuple[str, ...]  # its class and all that this inherits from
    text: str
    frame: tuple[str, int, str] | None  # the function, the line's number, and the line

    @classmethod
    def of(cls, error: BaseException) -> "Raised":
        """The error, told."""
        kinds = tuple(map(_kind, type(error).__mro__))
        return cls(kinds, str(error), _own_frame(error))

    def is_a(self, kind: type[BaseException]) -> bool:
        """Is it of this class, or of one that inherits from it?"""
        return _kind(kind) in self.kinds

    @property
    def name(self) -> str:
        """What its class is called."""
        return self.kinds[0].rpartition(".")[2]

    @property
    def unwritten(self) -> bool:
        """Is this what a stub raises?"""
        # PyTorch raises it too, for a missing forward or dtype; but never without a word.
        return self.is_a(NotImplementedError) and not self.text

    def stub(self, name: str, methods: Collection[str] = ()) -> str:
        """What to say when a stub is left: the answer `name`, one of its methods, or another."""
        function = self.frame[0] if self.frame else ""
        who = "It is"
        if function in methods and function != "__init__":
            who = f"Its {function} is"
        elif function and function not in (name, "__init__"):
            who = f"It calls {function}, which is"
        return f"{who} not written yet. Your code goes in place of the line that raises the error."

    def where(self) -> str:
        """The error, and the line of the student's code that raised it."""
        if self.is_a(Complaint):
            return self.text
        # Some of PyTorch's messages go on for pages; the first line says it.
        first = next(iter(self.text.splitlines()), "(no message)")[:300]
        return f"your code raised {self.name}: {first}{self.place()}"

    def place(self) -> str:
        """The line of the student's code that raised it, as a paragraph, or nothing."""
        if self.frame is None:
            return ""
        function, number, line = self.frame
        return f"\n\nIt happened in {function}, line {number} of its cell: {line}"


def _kind(of: type) -> str:
    return f"{of.__module__}.{of.__qualname__}"


def _own_frame(error: BaseException) -> tuple[str, int, str] | None:
    """The innermost frame that is the student's own."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not str(Path(f.filename).resolve()).startswith(_OTHERS)]
    if not own:
        return None
    line = linecache.getline(own[-1].filename, own[-1].lineno or 0).strip()
    return own[-1].name, own[-1].lineno or 0, line


@dataclass(frozen=True)
class Outcome:
    """What a call returned or raised, and the positions of the arguments it changed."""

    value: Any = None
    error: Raised | None = None
    changed: tuple[int, ...] = ()

    def plain(self) -> tuple[Any, ...]:
        """The same in plain words, for `Outcome.told` in another process."""
        error = self.error and (self.error.kinds, self.error.text, self.error.frame)
        return pack(self.value), error, self.changed

    @classmethod
    def told(cls, value: Plain, error: Any, changed: Any) -> "Outcome":
        """What `plain` has told."""
        return cls(unpack(value), error and Raised(*error), tuple(changed))


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
            return Outcome(error=Raised.of(error))
    pairs = enumerate(zip(arguments, copies, strict=True))
    return Outcome(value, changed=tuple(i for i, (old, new) in pairs if _differ(old, new)))


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
