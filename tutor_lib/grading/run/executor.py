"""Run a bundle in two kernels: the student's, and the judge's, which alone decides.

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
from typing import Any, TypeVar

from tutor_lib.grading.limits import Limits
from tutor_lib.grading.notes import Note
from tutor_lib.grading.run.bundle import BOTH, JUDGE, STUDENT, Bundle, Cell
from tutor_lib.grading.run.kernel import GRACE, Kernel, Ran
from tutor_lib.grading.sandbox.guest import Guest
from tutor_lib.grading.sandbox.sandbox import Sandbox
from tutor_lib.grading.submission import Result

T = TypeVar("T")
Serving = asyncio.Future[Ran]
LOST = ("StudentGone", "WireError")  # what the judge raises when it cannot go on with a student
SERVE = "import tutor_lib.grading.protocol.far as _far; _far.serve()"
READY = "import tutor_lib.grading.protocol.judge as _judge"
TEST = "_passed = False; _passed = await _judge.test({source!r}, {names!r})"
PASSED = "_passed"


async def execute(bundle: Bundle, sandbox: Sandbox) -> Result:
    """What comes of running a bundle.

    Raises SandboxError where no kernel can be isolated, and RuntimeError if a kernel does not
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
async def _pair(bundle: Bundle, sandbox: Sandbox) -> AsyncIterator[tuple[Kernel, Kernel]]:
    """The student's kernel and the judge's, joined by a socket."""
    environment = {"TUTOR_SEED": bundle.seed, "NBGRADER_EXECUTION": "autograde"}
    started: list[Kernel] = []

    async def start(whose: str, files: Mapping[str, bytes], end: socket.socket) -> Kernel:
        with end:  # closed here, so that each kernel sees it when the other one ends
            guest = Guest(bundle.limits, environment, files, end.fileno())
            kernel = Kernel(await sandbox.start_kernel(guest), bundle.limits, whose)
        started.append(kernel)
        await kernel.open()
        return kernel

    theirs, ours = socket.socketpair()
    both = start("the student's code", bundle.files, theirs), start("the judge", {}, ours)
    try:
        student, judge = await _all(*both)
        if not (await judge.run(READY, bundle.limits.cell_seconds)).done:
            raise RuntimeError("in the judge's kernel, tutor_lib cannot be imported")
        yield student, judge
    finally:
        await _all(*(kernel.close() for kernel in started))


async def _all(*coroutines: Coroutine[Any, Any, T]) -> list[T]:
    """All at once; the first error is raised when every one has ended."""
    ended = await asyncio.gather(*coroutines, return_exceptions=True)
    for one in ended:
        if isinstance(one, BaseException):
            raise one
    return [one for one in ended if not isinstance(one, BaseException)]


class _Trial:
    """The cells of one notebook, run one after the other."""

    def __init__(self, bundle: Bundle, student: Kernel, judge: Kernel) -> None:
        self.bundle, self.student, self.judge = bundle, student, judge
        self.limits: Limits = bundle.limits
        self.deadline = time.monotonic() + bundle.limits.notebook_seconds
        self.outputs: dict[int, list[Mapping[str, Any]]] = {}
        self.finished: set[str] = set()

    def all_outputs(self) -> tuple[tuple[Mapping[str, Any], ...], ...]:
        """The outputs of each cell of the notebook, text cells included."""
        return tuple(tuple(self.outputs.get(n, ())) for n in range(self.bundle.length))

    async def run(self) -> None:
        """Run every cell that still can be run."""
        runs = {STUDENT: self._student, BOTH: self._both, JUDGE: self._test}
        for cell in self.bundle.cells:
            if not cell.source.strip():
                continue
            if time.monotonic() > self.deadline and not self.student.gone:
                await self.student.end(self._too_long(cell))
            await runs[cell.runs](cell)

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
        kernels = [k for k in (self.student, self.judge) if not k.gone]
        if not kernels:
            return
        runs = [k.run(cell.source, *self._time(), cell.grade_id) for k in kernels]
        *_, ran = await asyncio.gather(*runs)
        self.outputs[cell.place] = ran.outputs
        if not ran.done:
            self.judge.notes.append(_broken(cell))

    async def _test(self, cell: Cell) -> None:
        """Have a test cell judged. What the student's code prints meanwhile is left out: it could
        tell what the hidden tests pass on."""
        if self.student.gone:
            self.outputs[cell.place] = [_error(self._why_gone())]
            return
        serving = asyncio.ensure_future(self.student.run(SERVE, 10**6, cell=cell.grade_id))
        ran = await self._in_time(cell, serving)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(serving), GRACE)
        if not serving.done():  # it does not want to end
            await self.student.end(Note("protocol", "It went on after its call.", cell.grade_id))
        if lost := [o["evalue"] for o in ran.outputs if o.get("ename") in LOST]:
            self.student.notes += self._unread(lost[0], cell)
        await serving
        self.outputs[cell.place] = ran.outputs
        if ran.done and cell.grade_id:
            self.finished.add(cell.grade_id)

    async def _in_time(self, cell: Cell, serving: Serving) -> Ran:
        """Run a test cell in the judge's kernel, with the names that it is lent. When time is
        up, it is the student's code that stops."""
        seconds, limit = self._time()
        test = TEST.format(source=cell.source, names=list(cell.lent))
        judge = self.judge.run(test, seconds + 4 * GRACE, cell=cell.grade_id, true=PASSED)
        running = asyncio.ensure_future(judge)
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
    return Note("grader", "A cell of the lab itself failed in the judge's kernel.", cell.grade_id)


def _error(told: str) -> Mapping[str, Any]:
    return {"output_type": "error", "ename": "NotRun", "evalue": told, "traceback": [told]}
