"""Frames over one end of a Unix socketpair."""

import os
import select
import socket

from tutor_lib.grading.protocol import wire
from tutor_lib.grading.protocol.values import MIB, Buffer, WireError

_JOINED = 1 << 16  # up to so many bytes, one copy is cheaper than one more system call


class HungUp(Exception):
    """The other side has closed the link, or this one has."""


class Link:
    """Whole frames or none.

    An interrupt may come at any time. While nothing but waiting goes on it does no harm; while
    the link is `busy` it leaves a frame in pieces, or unheeded, and the next use ends the link.
    Whoever receives a frame sets `busy` to False when the frame is taken care of.
    """

    def __init__(self, number: int) -> None:
        """`number` is that of an open file descriptor, which stays its owner's."""
        self._socket = socket.socket(fileno=os.dup(number))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self.busy = False

    def shut(self) -> None:
        """End the link; both sides find it closed from now on."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # it is closed already
            pass

    def send(self, parts: list[Buffer]) -> None:
        """Send one frame. Raises HungUp if the link is closed."""
        if sum(map(len, parts)) <= _JOINED:
            parts = [b"".join(parts)]
        self._begin()
        try:
            for part in parts:
                self._socket.sendall(part)
        except OSError as error:
            self.shut()
            raise HungUp(str(error)) from None
        self.busy = False

    def receive(self) -> wire.Frame:
        """Wait for one frame; `busy` from its first byte on.

        Raises HungUp if the link is closed, and WireError, which closes it, for nonsense.
        """
        self._poll.poll()
        self._begin()
        try:
            text, buffers = wire.lengths(self._read(wire.HEADER.size))
            return wire.opened(self._read(text), self._read(buffers))
        except OSError as error:
            self.shut()
            raise HungUp(str(error)) from None
        except WireError:
            self.shut()
            raise

    def _begin(self) -> None:
        if self.busy:
            self.shut()
            raise HungUp("an interrupt came in the middle of a message")
        self.busy = True

    def _read(self, size: int) -> bytearray:
        """Exactly so many bytes. Memory is taken as they come, not as they are announced."""
        data = bytearray()
        while len(data) < size:
            piece = self._socket.recv(min(size - len(data), MIB))
            if not piece:
                self.shut()
                raise HungUp("the other side has closed the link")
            data += piece
        return data
