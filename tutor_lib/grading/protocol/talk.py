"""Questions and answers over a link, either way, also while an answer is waited for."""

import itertools
from typing import Any

from tutor_lib.grading.protocol import failures, wire
from tutor_lib.grading.protocol.link import Link
from tutor_lib.grading.protocol.values import Buffer, WireError

TOLD, FAILED = "told", "failed"  # the two kinds of answer
CALL, NAME, DROP, DONE = "call", "name", "drop", "done"  # what is asked; DROP wants no answer


class Talk:
    """One side of a conversation. A subclass says what it refers to, finds and does."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._numbers = itertools.count(1)
        self._open: set[int] = set()  # asked, and not answered yet
        self._awaited: list[int] = []  # those somebody still waits for, the outermost first

    def refer(self, value: Any) -> list[Any]:
        """What stands for a value that is no data."""
        raise NotImplementedError

    def find(self, node: list[Any]) -> Any:
        """What a reference stands for. Raises an error if there is no such thing."""
        raise NotImplementedError

    def answer(self, frame: wire.Frame) -> None:
        """Do what is asked, and send an answer."""
        raise NotImplementedError

    def ask(self, kind: str, body: Any) -> Any:
        """Send a question and wait for its answer.

        Raises what the other side has raised, and what `Link` and `wire` raise.
        """
        number = next(self._numbers)
        parts = wire.pack(kind, number, body, self.refer)
        self._settle()
        self._awaited.append(number)
        try:
            self._open.add(number)
            self.link.send(parts)
            return self._told(self._answer_to(number))
        finally:
            self._awaited.remove(number)

    def _settle(self) -> None:
        """Hear first what nobody waits for any more: else both sides could wait to be heard."""
        while self._open.difference(self._awaited):
            frame = self.link.receive()
            if not self.is_answer(frame):
                self.answer(frame)

    def _answer_to(self, number: int) -> wire.Frame:
        while True:
            frame = self.link.receive()
            if not self.is_answer(frame):
                self.answer(frame)
            elif frame.number == number:
                return frame

    def is_answer(self, frame: wire.Frame) -> bool:
        """Is it an answer to an open question? Raises WireError if to none, or out of turn."""
        if frame.kind not in (TOLD, FAILED):
            return False
        if frame.number not in self._open or frame.number in self._awaited[:-1]:
            raise self.nonsense(f"an answer to no open question: {frame.number}")
        self._open.discard(frame.number)
        self.link.busy = False
        return True

    def _told(self, frame: wire.Frame) -> Any:
        body = self.read(frame)
        if frame.kind == TOLD:
            return body
        try:
            names, message, where = body
            error = failures.raised(names, message, where)
        except (TypeError, ValueError):
            raise self.nonsense("an answer that tells of an error, but not of which") from None
        raise error

    def read(self, frame: wire.Frame) -> Any:
        """The body of a frame. Raises WireError if it is malformed."""
        return wire.unpack(frame, self.find)

    def nonsense(self, what: str) -> WireError:
        """Close the link: there is no telling what else would come."""
        self.link.shut()
        return WireError(f"the other side sent {what}")

    def failed(self, number: int, error: BaseException, where: Any = None) -> list[Buffer]:
        """The answer that something was raised."""
        return wire.pack(FAILED, number, (*failures.told(error), where), self.refer)


def resolved(module: Any, path: str) -> Any:
    """What `path`, a name with dots or nothing, means in a module. Raises AttributeError."""
    found = module
    for name in path.split(".") if path else ():
        found = getattr(found, name)
    return found
