"""Run a bundle in two processes: the student's kernel, and the judge, which alone decides.

The student's cells run in the one, the lab's test cells in the other. While a test cell runs,
the student's kernel serves the calls that the judge makes to what the student defined. Nothing
that happens in the student's kernel can make a test cell finish but right answers.
"""

import asyncio
import contextlib
import socket
import time
from asyncio import FIRST_COMPLETED
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

from tutor_lib.grading.limits import Limits
from tutor_lib.grading.notes import Note
from tutor_lib.grading.run.bundle import JUDGE, STUDENT, Bundle, Cell
from tutor_lib.grading.run.judge import Judge
from tutor_lib.grading.run.kernel import GRACE, Kernel, Ran
from tutor_lib.grading.sandbox.guest import Guest
from tutor_lib.grading.sandbox.sandbox import Sandbox
from tutor_lib.grading.submission import Result

Serving = asyncio.Future[Ran]
LOST = ("StudentGone", "WireError")  # what the judge raises when it cannot go on with a student


async def execute(bundle: Bundle, sandbox: Sandbox) -> Result:
    """What comes of running a bundle.

    Raises SandboxError where nothing can be isolated, and RuntimeError if the kernel does not
    start: neither is the student's doing.
    """
    start = time.monotonic()
    async with _pair(bundle, sandbox) as (student, judge):
        trial = _Trial(bundle, student, judge)
        ready = time.monotonic()
        await trial.run()
        cells = time.monotonic() - ready
    notes = [*student.notes, *judge.notes]
    seconds = {"total": time.monotonic() - start, "cells": cells}
    return Result(trial.all_outputs(), frozenset(trial.finished), tuple(notes), seconds)


@contextlib.asynccontextmanager
async def _pair(bundle: Bundle, sandbox: Sandbox) -> AsyncIterator[tuple[Kernel, Judge]]:
    """The student's kernel and the judge, joined by a socket."""
    environment = {"TUTOR_SEED": bundle.seed, "NBGRADER_EXECUTION": "autograde"}
    limits = bundle.limits
    started: list[Kernel | Judge] = []

    async def start_student(end: socket.socket) -> Kernel:
        with end:  # closed here, so that each sees it when the other one ends
            guest = Guest(limits, environment, bundle.files, end.fileno())
            kernel = Kernel(await sandbox.start_kernel(guest), limits)
        started.append(kernel)
        await kernel.open()
        return kernel

    async def start_judge(end: socket.socket) -> Judge:
        with end:
            guest = Guest(limits, environment, link=end.fileno())
            judge = Judge(*await sandbox.start_judge(guest), limits)
        started.append(judge)
        await judge.open()
        return judge

    theirs, ours = socket.socketpair()
    try:
        student, judge = await _all(start_student(theirs), start_judge(ours))
        yield student, judge
    finally:
        await _all(*(one.close() for one in started))


async def _all(*coroutines: Coroutine[Any, Any, Any]) -> list[Any]:
    """All at once; the first error is raised when every one has ended."""
    ended = await asyncio.gather(*coroutines, return_exceptions=True)
    for one in ended:
        if isinstance(one, BaseException):
            raise one
    return ended


class _Trial:
    """The cells of one notebook, run one after the other."""

    def __init__(self, bundle: Bundle, student: Kernel, judge: Judge) -> None:
        self.bundle, self.student, self.judge = bundle, student, judge
        self.limits: Limits = bundle.limits
        self.deadline = time.monotonic() + bundle.limits.notebook_seconds
        self.outputs: dict[int, list[Mapping[str, Any]]] = {}
        self.finished: set[str] = set()
        self.serving: Serving | None = None

    def all_outputs(self) -> tuple[tuple[Mapping[str, Any], ...], ...]:
        """The outputs of each cell of the notebook, text cells included."""
        return tuple(tuple(self.outputs.get(n, ())) for n in range(self.bundle.length))

    async def run(self) -> None:
        """Run every cell that still can be run."""
        cells = [cell for cell in self.bundle.cells if cell.source.strip()]
        for cell, following in zip(cells, [*cells[1:], None], strict=True):
            if time.monotonic() > self.deadline and not self.student.gone:
                await self.student.end(self._too_long(cell))
            if cell.runs == JUDGE:
                await self._test(cell, following is None or following.runs != JUDGE)
            else:
                await (self._student if cell.runs == STUDENT else self._both)(cell)

    def _too_long(self, cell: Cell) -> Note:
        told = f"The notebook ran longer than {self.limits.notebook_seconds:g} seconds."
        return Note("notebook-time", told, cell.grade_id)

    def _time(self) -> tuple[float, str]:
        """How long a cell may run now, and which limit that is."""
        left = max(self.deadline - time.monotonic(), 0.1)
        return min((self.limits.cell_seconds, "cell-time"), (left, "notebook-time"))

    async def _student(self, cell: Cell) -> None:
        ran = await self.student.run(cell.source, *self._time(), cell.grade_id)
        self.outputs[cell.place] = ran.outputs

    async def _both(self, cell: Cell) -> None:
        """A set-up of the lab's own. What the judge shows is what it shows."""
        left = [one for one in (self.student, self.judge) if not one.gone]
        if not left:
            return
        runs = [one.run(cell.source, *self._time(), cell.grade_id) for one in left]
        *_, ran = await asyncio.gather(*runs)
        self.outputs[cell.place] = ran.outputs
        if not ran.done:
            self.judge.notes.append(_broken(cell))

    async def _test(self, cell: Cell, last: bool) -> None:
        """Have a test cell judged, the `last` of some in a row. What the student's code prints
        meanwhile is left out: it could tell what the hidden tests pass on."""
        if self.student.gone:
            self.outputs[cell.place] = [_error(self._why_gone())]
            return
        serving = self._served(cell)
        ran = await self._in_time(cell, serving, last)
        lost = [o["evalue"] for o in ran.outputs if o.get("ename") in LOST]
        if last or lost:
            await self._end(serving, cell)
        if lost:
            self.student.notes += self._unread(lost[0], cell)
        self.outputs[cell.place] = ran.outputs
        if ran.done and cell.grade_id:
            self.finished.add(cell.grade_id)

    def _served(self, cell: Cell) -> Serving:
        """The student's kernel, serving; since the test cell before, if that was not the last."""
        if self.serving is None or self.serving.done():
            self.serving = asyncio.ensure_future(self.student.serve(cell.grade_id))
        else:
            self.student.go_on(cell.grade_id)
        return self.serving

    async def _end(self, serving: Serving, cell: Cell) -> None:
        """See the student's kernel stop serving; else end it."""
        await asyncio.wait([serving], timeout=GRACE)
        if not serving.done():
            await self.student.end(Note("protocol", "It went on after its call.", cell.grade_id))
        await serving

    async def _in_time(self, cell: Cell, serving: Serving, last: bool) -> Ran:
        """Have a test cell judged, with the names that it is lent. When time is up, it is the
        student's code that stops."""
        seconds, limit = self._time()
        running = asyncio.ensure_future(
            self.judge.run(
                cell.source, seconds + 4 * GRACE, cell=cell.grade_id, names=cell.lent, last=last
            )
        )
        await asyncio.wait([running, serving], timeout=seconds, return_when=FIRST_COMPLETED)
        if serving.done() and not running.done():
            await asyncio.wait([running], timeout=GRACE)
            if not running.done():  # it serves no more: nobody will answer
                await self.student.end()
                await asyncio.wait([running], timeout=seconds)
        if not running.done():
            self.student.late(limit, cell.grade_id)
            await self.student.interrupt()
            await asyncio.wait([running], timeout=GRACE)
        if not running.done():
            await self.student.end()
        return await running

    def _unread(self, why: str, cell: Cell) -> list[Note]:
        """A note that the judge could not go on; not where it is plain from another one why."""
        if any(note.code in ("cell-time", "notebook-time") for note in self.student.notes):
            return []  # an interrupt in the middle of a message ends the conversation
        if self.student.gone and self.student.notes:
            return []
        return [Note("protocol", f"The judge could not go on: {why[:200]}", cell.grade_id)]

    def _why_gone(self) -> str:
        why = self.student.notes[-1].told if self.student.notes else ""
        return f"Not run: the process of your notebook had ended before. {why}".strip()


def _broken(cell: Cell) -> Note:
    return Note("grader", "A cell of the lab itself failed in the judge.", cell.grade_id)


def _error(told: str) -> Mapping[str, Any]:
    return {"output_type": "error", "ename": "NotRun", "evalue": told, "traceback": [told]}
