"""Watches one kernel, ends it when it takes too much, and tells the owner why.

Trusted, and out of the kernel's reach: outside its process namespace. It ends the kernel by
killing process 1 there, after which Linux kills the rest. It does so too when the owner's end of
the connection closes. The owner sends single bytes, and receives lines of JSON.
"""

import contextlib
import json
import os
import select
import signal
import socket
import time
from concurrent.futures import Future, ThreadPoolExecutor

from tutor_lib.grading.limits import Limits
from tutor_lib.grading.sandbox.usage import Hidden, Meter

INTERRUPT, USAGE = b"i", b"u"
PERIOD = 0.1  # seconds between two looks
EXACT = 10  # every so many looks, memory is measured, for the peak


class Supervisor:
    """Watches the kernel whose process 1 is `init`; `child` is the process to wait for.

    `inner` brings one line from the kernel's side, once the kernel starts or has failed to.
    Memory is measured `apart`, since that may wait for the kernel, and nothing else must.
    """

    def __init__(
        self,
        init: int,
        child: int,
        inner: socket.socket,
        owner: socket.socket,
        limits: Limits,
        apart: ThreadPoolExecutor,
    ) -> None:
        self._init, self._child, self._limits = init, child, limits
        self._inner, self._owner = inner, owner
        self._meter = Meter(init)
        self._cpu, self._peak, self._looks = 0.0, 0, 0
        self._apart = apart
        self._measured: Future[int] | None = None
        self._why: str | None = None

    def run(self) -> None:
        """Watch until the kernel has ended; nothing of it is left then."""
        status = None
        try:
            if self._started():
                status = self._watch()
        finally:
            status = self._end() if status is None else status
            code = os.waitstatus_to_exitcode(status)
            code = code if code >= 0 else 128 - code
            self._tell(ended=self._why, status=code, **self._used())

    def _started(self) -> bool:
        """Pass on what the kernel's side says first; False if it or the owner goes instead."""
        ready, _, _ = select.select([self._inner, self._owner], [], [])
        with self._inner.makefile("rb") as lines:
            line = lines.readline() if self._inner in ready else b""
        self._send(line)
        return b"started" in line

    def _watch(self) -> int | None:
        """The kernel's status if it ends by itself, None if it must be ended."""
        due = 0.0
        while self._why is None:
            done, status = os.waitpid(self._child, os.WNOHANG)
            if done:
                self._why = "died"
                return status
            if self._owner_left(max(0.0, due - time.monotonic())):
                return None
            if time.monotonic() >= due:
                self._why = self._passed()
                due = time.monotonic() + PERIOD
        return None

    def _owner_left(self, seconds: float) -> bool:
        ready, _, _ = select.select([self._owner], [], [], seconds)
        if not ready:
            return False
        with contextlib.suppress(OSError):
            commands = self._owner.recv(64)
            if INTERRUPT in commands:
                os.kill(self._init, signal.SIGINT)
            if USAGE in commands:
                self._tell(usage=True, **self._used())
            return not commands
        return True

    def _passed(self) -> str | None:
        """The code of a limit that is passed, if one is."""
        try:
            numbers = self._meter.processes()
            # First: to look into each of a fork bomb's processes would take too long.
            if len(numbers) > self._limits.processes:
                return "processes"
            self._peak = max(self._peak, self._memory(numbers))
            self._cpu = max(self._cpu, self._meter.cpu(numbers))
            disk = self._meter.disk()
        except Hidden:
            return "memory"
        except OSError:
            return None  # it is ending: the next look waits for it
        if self._peak > self._limits.memory_bytes:
            return "memory"
        if self._cpu > self._limits.cpu_seconds:
            return "cpu"
        return "disk" if disk > self._limits.disk_bytes else None

    def _memory(self, numbers: list[str]) -> int:
        """What was measured since the last look, if anything was."""
        done, self._looks = 0, self._looks + 1
        if self._measured and self._measured.done():
            done, self._measured = self._measured.result(), None
        close = self._meter.bound(numbers) > self._limits.memory_bytes
        if self._measured is None and (close or self._looks % EXACT == 1):
            self._measured = self._apart.submit(self._meter.memory, numbers)
        return done

    def _end(self) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._init, signal.SIGKILL)
        return os.waitpid(self._child, 0)[1]

    def _used(self) -> dict[str, float]:
        return {"cpu_seconds": self._cpu, "memory_bytes": self._peak}

    def _tell(self, **about: object) -> None:
        self._send(json.dumps(about).encode() + b"\n")

    def _send(self, line: bytes) -> None:
        with contextlib.suppress(OSError):  # the owner may have gone
            self._owner.sendall(line)
