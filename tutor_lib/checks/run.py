"""Run a student's function: quietly, on copies, and keep what came of it."""

import contextlib
import linecache
import sys
import sysconfig
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

# Frames in these folders are not the student's: Python's own files, its packages, this library.
_FOLDERS = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
_OTHERS = tuple(str(Path(f).resolve()) for f in [*_FOLDERS, str(Path(__file__).parents[1])])


@dataclass(frozen=True)
class Outcome:
    """What a call returned or raised, and the positions of the arguments it changed."""

    value: Any = None
    error: Exception | None = None
    changed: tuple[int, ...] = ()

    @property
    def unwritten(self) -> bool:
        """The stub is still there."""
        return isinstance(self.error, NotImplementedError)

    def stub(self, name: str) -> str:
        """What to say when the stub of the exercise `name`, or of one that it calls, is left."""
        frame = self._frame()
        who = "It is" if not frame or frame.name == name else f"It calls {frame.name}, which is"
        return f"{who} not written yet. Your code goes in place of the line that raises the error."

    def where(self) -> str:
        """The error, and the line of the student's code that raised it."""
        # Some of PyTorch's messages go on for pages; the first line says it.
        first = next(iter(str(self.error).splitlines()), "(no message)")[:300]
        text = f"your code raised {type(self.error).__name__}: {first}"
        if not (frame := self._frame()):
            return text
        line = linecache.getline(frame.filename, frame.lineno or 0).strip()
        return f"{text}\n\nIt happened in {frame.name}, line {frame.lineno} of its cell: {line}"

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
    copies = tuple(_copy(a) for a in arguments)
    with quiet():
        try:
            value = function(*copies)
        except Exception as error:
            return Outcome(error=error)
    pairs = enumerate(zip(arguments, copies, strict=True))
    return Outcome(value, changed=tuple(i for i, (old, new) in pairs if _differ(old, new)))


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call `function` quietly; hidden tests use it so that a warning costs no points."""
    with quiet():
        return function(*arguments)


def _copy(argument: Any) -> Any:
    return argument.clone() if isinstance(argument, torch.Tensor) else argument


def _differ(old: Any, new: Any) -> bool:
    if not isinstance(old, torch.Tensor):
        return False
    return old.shape != new.shape or not torch.allclose(old, new, rtol=0, atol=0, equal_nan=True)
