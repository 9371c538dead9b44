"""Run code in a student's kernel, and keep what it takes and prints within bounds.

What comes from there is hostile: it may be malformed, forged, endless, or silent.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nbformat.v4
import zmq.asyncio
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager

from tutor_lib.grading.limits import Limits
from tutor_lib.grading.notes import Note

TIMES = {"cell-time": ("It", "cell_seconds"), "notebook-time": ("The notebook", "notebook_seconds")}
FOREVER = 1e6  # seconds
GRACE = 3.0  # seconds from an interrupt to the end
SERVE = "import tutor_lib.grading.protocol.far as _far; _far.serve()"
LOST = 0.5  # seconds that the word "idle" may come after the reply; a flood can drown it


@dataclass
class Ran:
    """What came of running some code: its outputs, and whether it came to its end."""

    outputs: list[Mapping[str, Any]] = field(default_factory=list)
    done: bool = False


class Kernel:
    """One kernel. `notes` say what befell it; once it is `gone` it runs nothing more."""

    def __init__(self, manager: AsyncKernelManager, limits: Limits) -> None:
        self.manager, self.limits = manager, limits
        self.client: AsyncKernelClient = manager.client()
        self.notes: list[Note] = []
        self.gone = False
        self.unsettled = False
        self.monitor: zmq.asyncio.Socket | None = None
        self.request: _Request | None = None

    async def open(self) -> None:
        """Wait until the kernel answers, outputs and all. Raises RuntimeError if it does not."""
        self.client.start_channels(hb=False)
        if not await self._settled():
            raise RuntimeError("the kernel of the student's code does not answer")
        outputs = self.client.iopub_channel.socket
        self.monitor = outputs.get_monitor_socket(zmq.EVENT_CONNECTED | zmq.EVENT_DISCONNECTED)

    async def _settled(self) -> bool:
        """Ask for nothing, until an answer comes whole; False if none does.

        What a kernel says before it knows of a connection is lost, and an interrupt may come
        late: then it finds no cell to stop.
        """
        for _ in range(20):
            request = _Request(self, "", Ran(), None)
            await request.finish(min(60.0, self.limits.cell_seconds), "cell-time")
            if request.idle.is_set() or self.gone:
                break
        self.unsettled = False
        return request.idle.is_set()

    async def close(self) -> None:
        """End the kernel and all of its processes."""
        self.gone = True
        if self.monitor is not None:
            self.client.iopub_channel.socket.disable_monitor()
            self.monitor.close()
        self.client.stop_channels()
        await self.manager.shutdown_kernel(now=True)

    async def run(
        self, code: str, seconds: float, limit: str = "cell-time", cell: str | None = None
    ) -> Ran:
        """Run some code, as the cell of that id, for so many seconds at most; `limit` says why."""
        ran = Ran()
        if self.unsettled:
            await self._settled()
        if not self.gone:
            self.request = _Request(self, code, ran, cell)
            await self.request.finish(seconds, limit)
        return ran

    async def serve(self, cell: str | None) -> Ran:
        """Have it answer the judge, for the test cell of that id, until the judge is done."""
        return await self.run(SERVE, FOREVER, cell=cell)

    def go_on(self, cell: str | None) -> None:
        """It serves for one more cell now: notes name that one, and it may show as much again."""
        if self.request is not None:
            self.request.cell = cell
            self.request.cells += 1

    def late(self, limit: str, cell: str | None) -> None:
        """Note that a limit of time is passed: the cell's or the notebook's."""
        self.notes.append(late(self.limits, limit, cell))

    async def choked(self) -> bool:
        """Has it sent a message too large to be taken? That ended the connection; have a new one.

        If the kernel itself has ended, there is none to be had.
        """
        if self.monitor is None or not await self.monitor.poll(0):
            return False
        await self.monitor.recv_multipart()
        outputs = self.client.iopub_channel.socket
        endpoint, self.unsettled = outputs.last_endpoint, True
        outputs.disconnect(endpoint)
        outputs.connect(endpoint)
        if not await self.monitor.poll(1000 * LOST):
            return False
        await self.monitor.recv_multipart()
        return True

    async def interrupt(self) -> None:
        """Raise KeyboardInterrupt there."""
        if not self.gone:
            await self.manager.interrupt_kernel()

    async def end(self, note: Note | None = None) -> None:
        """Kill it, and note why."""
        if not self.gone:
            self.gone = True
            if self.manager.provisioner is not None:
                await self.manager.provisioner.kill()
            self.notes += [note] if note else []

    async def alive(self, cell: str | None) -> bool:
        """Is it still there? If it has just ended, note why."""
        if not self.gone and not await self.manager.is_alive():
            self.gone = True
            why = getattr(self.manager.provisioner, "ending", None)
            told = "The process that ran the student's code ended by itself."
            self.notes.append(_at(why or Note("died", told), cell))
        return not self.gone


def late(limits: Limits, limit: str, cell: str | None) -> Note:
    """A limit of time is passed: the cell's or the notebook's."""
    which, seconds = TIMES[limit]
    told = f"{which} ran longer than {getattr(limits, seconds):g} seconds, and was stopped."
    return Note(limit, told, cell)


def full(limits: Limits, cell: str | None) -> Note:
    """More was shown than is kept."""
    told = f"It printed more than {limits.output_bytes:,} bytes or {limits.output_messages:,} times"
    return Note("output", f"{told}: only the beginning is kept.", cell)


def _at(note: Note, cell: str | None) -> Note:
    return Note(note.code, note.told, note.cell or cell)


class _Request:
    """One piece of code on its way through a kernel."""

    def __init__(self, kernel: Kernel, code: str, ran: Ran, cell: str | None) -> None:
        self.kernel, self.ran, self.cell = kernel, ran, cell
        self.cells = 1
        self.bytes = self.messages = 0
        self.stopping = False
        self.idle = asyncio.Event()
        serves = code == SERVE  # which nobody wants to see among the cells that ran
        self.id = kernel.client.execute(
            code, silent=serves, store_history=not serves, allow_stdin=False, stop_on_error=False
        )

    async def finish(self, seconds: float, limit: str) -> None:
        """Follow it to its end; past its time, interrupt it, and then end the kernel."""
        reader = asyncio.ensure_future(self._read())
        try:
            if not await self._replied(seconds) and not self.kernel.gone:
                self.kernel.late(limit, self.cell)
                await self._stop()
        finally:
            reader.cancel()

    async def _stop(self) -> None:
        """Interrupt; if that does not help, kill."""
        self.stopping = self.kernel.unsettled = True
        await self.kernel.interrupt()
        if not await self._replied(GRACE):
            await self.kernel.end()
        self.ran.done = False

    async def _replied(self, seconds: float) -> bool:
        """Wait for the end: True if it came, or the kernel went; False after so many seconds."""
        deadline = time.monotonic() + seconds
        while not self.kernel.gone and time.monotonic() < deadline:
            if (reply := await self._reply(deadline)) is not None:
                self.ran.done = reply.get("status") == "ok"
                await _for_a_while(self.idle.wait(), LOST)
                if await self._flooded():
                    self._note_output()
                return True
            if not self.stopping and await self._flooded():
                self._note_output()
                self.stopping = True  # it may go on printing, but not for long
                # If it is at its end anyway, an interrupt would only lose its reply.
                if not await self._replied(LOST):
                    await self._stop()
                return True
            if not await self.kernel.alive(self.cell):
                await _for_a_while(self.idle.wait(), 0.1)  # what it had still to say
        return self.kernel.gone

    async def _reply(self, deadline: float) -> Mapping[str, Any] | None:
        """The content of the reply to this request, or None if none came for a moment."""
        wait = min(0.1, max(deadline - time.monotonic(), 0.001))
        message = await _receive(self.kernel.client, self.kernel.client.shell_channel, wait)
        if message is None or message[0]["parent_header"].get("msg_id") != self.id:
            return None
        content = message[0].get("content")
        return content if isinstance(content, Mapping) else {}

    async def _flooded(self) -> bool:
        return self._is_full() or await self.kernel.choked()

    def _is_full(self) -> bool:
        limits, cells = self.kernel.limits, self.cells
        too_long = self.bytes > cells * limits.output_bytes
        return too_long or self.messages > cells * limits.output_messages

    def _note_output(self) -> None:
        if (note := full(self.kernel.limits, self.cell)) not in self.kernel.notes:
            self.kernel.notes.append(note)

    async def _read(self) -> None:
        """Collect outputs until the kernel is idle again."""
        client = self.kernel.client
        while True:
            received = await _receive(client, client.iopub_channel, 1.0)
            if received is None:
                continue
            message, size = received
            self.bytes, self.messages = self.bytes + size, self.messages + 1
            if message["parent_header"].get("msg_id") != self.id:
                continue
            if _is_idle(message):
                self.idle.set()
            elif not self._is_full():
                _add(self.ran.outputs, message)


async def _for_a_while(awaitable: Any, seconds: float) -> None:
    try:
        await asyncio.wait_for(awaitable, seconds)
    except TimeoutError:
        pass


async def _receive(
    client: AsyncKernelClient, channel: Any, seconds: float
) -> tuple[dict[str, Any], int] | None:
    """The next message and its size, or None if there is none, or none that can be read."""
    if not await channel.socket.poll(seconds * 1000):
        return None
    frames = await channel.socket.recv_multipart()
    try:
        _, parts = client.session.feed_identities(frames)
        message = client.session.deserialize(parts)
    except (ValueError, TypeError, KeyError, IndexError, RecursionError, AttributeError):
        return None  # forged, or no message at all
    return (message, sum(map(len, frames))) if isinstance(message["parent_header"], dict) else None


def _is_idle(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    return (
        message.get("msg_type") == "status"
        and isinstance(content, Mapping)
        and content.get("execution_state") == "idle"
    )


def _add(outputs: list[Mapping[str, Any]], message: dict[str, Any]) -> None:
    """Append what a message shows; text of the same stream goes on in one output."""
    make: Callable[[Any], Any] = nbformat.v4.output_from_msg
    try:
        output = make(message)  # and validate it
    except Exception:  # not one that a notebook can hold
        return
    if output.output_type == "stream" and outputs and outputs[-1].get("name") == output.name:
        outputs[-1]["text"] += output.text  # type: ignore[index]
    else:
        outputs.append(output)
