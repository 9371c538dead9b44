"""Frames over one end of a Unix socketpair."""

import contextlib
import os
import select
import socket
from collections.abc import Iterator

from tutor_lib.grading.protocol import wire
from tutor_lib.grading.protocol.values import MIB, Buffer

_JOINED = 1 << 16  # up to so many bytes, one copy is cheaper than one more system call


class HungUp(Exception):
    """The other side has closed the link, or this one has."""


class Link:
    """Whole frames or none: what is broken off in the middle ends the link."""

    def __init__(self, number: int) -> None:
        """`number` is that of an open file descriptor, which stays its owner's."""
        self._socket = socket.socket(fileno=os.dup(number))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self.is_shut = False
        self.sent: list[Buffer] | None = None  # the last that has gone as a whole

    def shut(self) -> None:
        """End the link; both sides find it closed from now on."""
        self.is_shut = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is closed already
            pass

    def wait(self) -> None:
        """Wait until there is something to receive. An interrupt meanwhile does no harm."""
        self._poll.poll()

    def send(self, parts: list[Buffer]) -> None:
        """Send one frame. An interrupt would break it: call it in a `Held` block.

        Raises HungUp if the link is closed.
        """
        joined = [b"".join(parts)] if sum(map(len, parts)) <= _JOINED else parts
        with self._whole():
            for part in joined:
                self._socket.sendall(part)
            self.sent = parts

    def receive(self) -> wire.Frame:
        """Receive one frame. An interrupt would break it: call it in a `Held` block.

        Raises HungUp if the link is closed, and WireError, which closes it, for nonsense.
        """
        with self._whole():
            text, buffers = wire.lengths(self._read(wire.HEADER.size))
            return wire.opened(self._read(text), self._read(buffers))

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """A frame goes through whole, or the link is closed: nobody could tell where one begins."""
        try:
            yield
        except OSError as error:
            self.shut()
            raise HungUp(str(error)) from None
        except BaseException:
            self.shut()
            raise

    def _read(self, size: int) -> bytearray:
        """Exactly so many bytes. Memory is taken as they come, not as they are announced."""
        data = bytearray()
        while len(data) < size:
            piece = self._socket.recv(min(size - len(data), MIB))
            if not piece:
                raise HungUp("the other side has closed the link")
            data += piece
        return data
