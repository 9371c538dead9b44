"""Questions and answers over a link, either way, also while an answer is waited for."""

import itertools
from abc import ABC, abstractmethod
from typing import Any

from tutor_lib.grading.protocol import failures, wire
from tutor_lib.grading.protocol.held import Held
from tutor_lib.grading.protocol.link import Link
from tutor_lib.grading.protocol.values import Buffer, WireError

TOLD, FAILED = "told", "failed"  # the two kinds of answer
CALL, NAME, DROP, DONE = "call", "name", "drop", "done"  # what is asked
_WANT_NO_ANSWER = (TOLD, FAILED, DROP)


class Talk(ABC):
    """One side of a conversation. A subclass says what it refers to, finds and does."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self._numbers = itertools.count(1)
        self._open: set[int] = set()  # asked, and not answered yet
        self._awaited: list[int] = []  # those somebody still waits for, the outermost first

    @abstractmethod
    def refer(self, value: Any) -> list[Any]:
        """What stands for a value that is no data."""

    @abstractmethod
    def find(self, node: list[Any]) -> Any:
        """What a reference stands for. Raises an error if there is no such thing."""

    @abstractmethod
    def do(self, frame: wire.Frame) -> Any:
        """Do what is asked."""

    @abstractmethod
    def after(self, error: BaseException) -> None:
        """Go on, or raise it again, when what is asked has raised an error and this is told."""

    def ask(self, kind: str, body: Any) -> Any:
        """Send a question and wait for its answer.

        Raises what the other side has raised, and what `Link` and `wire` raise.
        """
        number = next(self._numbers)
        parts = wire.pack(kind, number, body, self.refer)
        # Hear first what nobody waits for any more: else both sides could wait to be heard.
        while self.has_given_up():
            self.attend()
        self._awaited.append(number)
        try:
            with Held():
                self.link.send(parts)
                self._open.add(number)
            while (frame := self.attend()) is None or frame.number != number:
                pass
            return self._told(frame)
        finally:
            self._awaited.remove(number)

    def send(self, parts: list[Buffer]) -> None:
        """Send a frame, and as a whole also if an interrupt comes."""
        with Held():
            self.link.send(parts)

    def has_given_up(self) -> bool:
        """Is a question open that nobody waits for any more, after an interrupt?"""
        return not self._open.issubset(self._awaited)

    def attend(self) -> wire.Frame | None:
        """Wait for a frame. If it is an answer, return it; else do what is asked.

        Whatever the doing raises is an answer too, an interrupt as well, which may come at any
        time: the other side waits.
        """
        self.link.wait()
        frame = parts = None
        try:
            with Held():
                frame = self.link.receive()
                if self._is_answer(frame):
                    return frame
            parts = self._done(frame)
            self.send(parts)
        except BaseException as error:
            if frame is None or frame.kind in _WANT_NO_ANSWER or not self._owes(parts):
                raise
            self.send(self._failed(frame.number, error))
            self.after(error)
        return None

    def _done(self, frame: wire.Frame) -> list[Buffer]:
        """Do what is asked; the answer's parts."""
        result = self.do(frame)
        return [] if frame.kind == DROP else wire.pack(TOLD, frame.number, result, self.refer)

    def _owes(self, parts: list[Buffer] | None) -> bool:
        """Must the other side still be told? Not if an interrupt came when the answer had gone."""
        return not self.link.is_shut and (parts is None or self.link.sent is not parts)

    def _is_answer(self, frame: wire.Frame) -> bool:
        """Is it an answer to an open question? Raises WireError if to none, or out of turn."""
        if frame.kind not in (TOLD, FAILED):
            return False
        if frame.number not in self._open or frame.number in self._awaited[:-1]:
            raise self.nonsense(f"an answer to no open question: {frame.number}")
        self._open.discard(frame.number)
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

    def place(self, error: BaseException) -> failures.Place | None:
        """Where an error was raised, as far as the other side may know."""
        return None

    def _failed(self, number: int, error: BaseException) -> list[Buffer]:
        while True:
            try:
                told = (*failures.told(error), self.place(error))
                return wire.pack(FAILED, number, told, self.refer)
            except KeyboardInterrupt:  # one more: the other side still waits
                continue


def resolved(module: Any, path: str) -> Any:
    """What `path`, a name with dots or nothing, means in a module. Raises AttributeError."""
    found = module
    for name in path.split(".") if path else ():
        found = getattr(found, name)
    return found
