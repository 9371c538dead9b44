"""The judge, seen from the one that asks it: it runs cells of the lab, and says how each went.

Its code is the lab's, and it is believed. What a student's answers can still do to it is to keep
it busy: then it is interrupted, and ended at last.
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import nbformat
import nbformat.v4
from nbformat import NotebookNode

from tutor_lib.grading.limits import Limits
from tutor_lib.grading.notes import Note
from tutor_lib.grading.run.kernel import GRACE, Ran, full, late

LINE = 1 << 30  # the longest answer: its limit is the judge's to keep


class Judge:
    """A judge's process. `notes` say what befell it; once it is `gone` it runs nothing more."""

    def __init__(self, connection: socket.socket, process: int, limits: Limits) -> None:
        """`process` is a descriptor that stands for the process; this closes both."""
        self.connection, self.process, self.limits = connection, process, limits
        self.notes: list[Note] = []
        self.gone = False

    async def open(self) -> None:
        """Be ready to ask."""
        self.answers, self.asked = await asyncio.open_unix_connection(
            sock=self.connection, limit=LINE
        )

    async def run(
        self,
        source: str,
        seconds: float,
        limit: str = "cell-time",
        cell: str | None = None,
        names: Sequence[str] | None = None,
        last: bool = True,
    ) -> Ran:
        """Run a cell for so many seconds at most, with the student's names that it is lent.

        With `names`, even none, the student's kernel must be serving, and serves until the `last`.
        """
        if self.gone:
            return Ran()
        asked = {"source": source, "names": names, "last": last}
        self.asked.write(json.dumps(asked).encode() + b"\n")
        answer = asyncio.ensure_future(self.answers.readline())
        await asyncio.wait([answer], timeout=seconds)
        if not answer.done():
            self.notes.append(late(self.limits, limit, cell))
            self._signal(signal.SIGINT)
            await asyncio.wait([answer], timeout=GRACE)
        if not answer.done():
            self.end()
        return self._ran(await answer, cell)

    def _ran(self, answer: bytes, cell: str | None) -> Ran:
        if not answer.endswith(b"\n"):
            self.notes += [] if self.gone else [Note("died", "The judge ended by itself.", cell)]
            self.gone = True
            return Ran()
        told = json.loads(answer)
        if told["full"]:
            self.notes.append(full(self.limits, cell))
        return Ran(list(_valid(told["outputs"])), told["passed"])

    def end(self) -> None:
        """Kill it."""
        self.gone = True
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.process, number)

    async def close(self) -> None:
        """End it, and let go of it."""
        self.end()
        os.close(self.process)
        self.asked.close()


def _valid(outputs: Sequence[dict[str, Any]]) -> Iterator[NotebookNode]:
    """Those that a notebook can hold: an object of the student's may show itself as anything."""
    for output in outputs:
        with contextlib.suppress(nbformat.ValidationError):
            yield nbformat.v4.new_output(**output)
