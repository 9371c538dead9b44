"""Keep interrupts (SIGINT) from where they would do harm."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Any


class Held:
    """A block that an interrupt does not break into: it is raised at the end.

    A second interrupt is raised at once: then the block waits for something that never comes.
    Where Python handles no interrupts, outside the main thread, the block is like any other.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._come = False

    def __enter__(self) -> None:
        self._before = _handler()
        if self._before is not None:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._come:
            raise KeyboardInterrupt
        self._come = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        if self._before is None:
            return
        signal.signal(signal.SIGINT, self._before)
        if self._come and error is None:
            self._before(signal.SIGINT, None)


@contextlib.contextmanager
def let_through(when: Callable[[], bool]) -> Iterator[None]:
    """In this block an interrupt counts only if `when()` is true; else it is dropped."""
    before = _handler()
    if before is None:
        yield
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if when():
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _handler() -> Any:
    """What handles interrupts now; None outside the main thread, or if Python does not."""
    if threading.current_thread() is not threading.main_thread():
        return None
    handler = signal.getsignal(signal.SIGINT)
    return handler if callable(handler) else None
