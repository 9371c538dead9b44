"""Keep an interrupt back while a message is in pieces."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Held:
    """A block that an interrupt (SIGINT) does not break into: it is raised at the end.

    A second interrupt is raised at once: then the block waits for something that never comes.
    Where Python handles no interrupts, outside the main thread, the block is like any other.
    """

    def __init__(self) -> None:
        self._before: Any = None
        self._come = False

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            before = signal.getsignal(signal.SIGINT)
            if callable(before):
                self._before = before
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
