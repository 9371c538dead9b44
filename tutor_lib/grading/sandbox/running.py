"""The owner's end of the connection to a kernel's supervisor."""

import contextlib
import json
import socket
from collections.abc import Mapping
from typing import Any

from tutor_lib.grading.limits import Limits
from tutor_lib.grading.notes import Note
from tutor_lib.grading.sandbox.guest import Request, SandboxError
from tutor_lib.grading.sandbox.supervisor import INTERRUPT, USAGE

PATIENCE = 10.0  # seconds that an answer of the supervisor may take


class Running:
    """A kernel, from when it is asked for until nothing of it is left."""

    def __init__(self, connection: socket.socket, limits: Limits) -> None:
        self._connection, self._limits = connection, limits
        self._received = b""
        self._stopped = False
        self._ended: Mapping[str, Any] | None = None
        self._used: Mapping[str, Any] = {"cpu_seconds": 0.0, "memory_bytes": 0}

    def start(self, request: Request, seconds: float) -> None:
        """Send the request, and wait for the kernel. Raises SandboxError if none comes."""
        self._connection.settimeout(seconds)
        try:
            with self._connection.makefile("wb") as stream:
                request.write(stream)
            first = self._next()
        except OSError as error:
            raise SandboxError(f"no kernel came within {seconds:g} s: {error}") from error
        if "started" not in first:
            raise SandboxError(f"the kernel could not start: {first.get('failed', first)}")

    def interrupt(self) -> None:
        """Send SIGINT to the kernel."""
        self._command(INTERRUPT)

    def stop(self) -> None:
        """Have the kernel ended; `poll` tells when it has."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_WR)

    def poll(self) -> int | None:
        """None while it runs, then its exit status: 128 + n if signal n ended it."""
        if self._ended is None:
            self._connection.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while self._ended is None:
                    self._next()
        return None if self._ended is None else int(self._ended["status"])

    def used(self) -> tuple[float, int]:
        """CPU seconds, and the most memory seen, in bytes."""
        if self.poll() is None and not self._stopped:
            self._command(USAGE)
            self._connection.settimeout(PATIENCE)
            with contextlib.suppress(OSError):
                self._next()
        return self._used["cpu_seconds"], self._used["memory_bytes"]

    @property
    def ending(self) -> Note | None:
        """Why it ended, unless the owner wanted it to."""
        why = None if self.poll() is None or self._ended is None else self._ended["ended"]
        if why is None or (why == "died" and self._stopped):
            return None
        return Note(why, _told(why, self._limits))

    def expect_end(self) -> None:
        """From now on its ending by itself is what the owner wants."""
        self._stopped = True

    def close(self) -> None:
        """Let go of the connection, which ends the kernel."""
        self._connection.close()
        self._ended = self._ended or _LOST

    def _command(self, command: bytes) -> None:
        with contextlib.suppress(OSError):  # it has ended
            self._connection.settimeout(PATIENCE)
            self._connection.sendall(command)

    def _next(self) -> Mapping[str, Any]:
        """The next message of the supervisor. Raises OSError if none has come in time."""
        while b"\n" not in self._received:
            try:
                more = self._connection.recv(65536)
            except ConnectionError:
                more = b""
            if not more:
                self._ended = self._ended or _LOST
                return self._ended
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        message = json.loads(line)
        if "cpu_seconds" in message:
            self._used = message
        if "ended" in message:
            self._ended = message
        return message


# The supervisor went without a word: somebody ended the whole sandbox.
_LOST: Mapping[str, Any] = {"ended": "died", "status": -9}


def _told(why: str, limits: Limits) -> str:
    return {
        "memory": f"more than {_size(limits.memory_bytes)} of memory was used",
        "processes": f"more than {limits.processes} processes were started",
        "cpu": f"more than {limits.cpu_seconds:g} s of processor time were used",
        "disk": f"more than {_size(limits.disk_bytes)} of files were written",
        "died": "the Python process ended by itself: an exit, or a crash",
    }[why]


def _size(count: int) -> str:
    return f"{count / (1 << 20):g} MiB"
