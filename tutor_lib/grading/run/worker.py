"""A process that runs bundles, several at once, and hands their results back.

It reads a line of JSON for each bundle and writes one for each result. When its input ends,
because whoever started it has gone, all of its kernels end too.

    python -m tutor_lib.grading.run.worker SLOTS
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import Any

from tutor_lib.grading.run import store
from tutor_lib.grading.run.bundle import Bundle
from tutor_lib.grading.run.executor import execute
from tutor_lib.grading.sandbox.guest import SandboxError
from tutor_lib.grading.sandbox.sandbox import Sandbox
from tutor_lib.grading.submission import Result

LINE = 1 << 30  # the longest line: a bundle with its files


class WorkerDied(RuntimeError):
    """The worker's process has ended; what was under way is to be run again."""


class Worker:
    """A worker's process, seen from the one that started it. Its methods may be called from
    any thread."""

    def __init__(self, slots: int) -> None:
        command = [sys.executable, "-m", __name__, str(slots)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.slots, self.lock, self.number = slots, threading.Lock(), 0
        self.waiting: dict[int, Future[dict[str, Any]]] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def run(self, bundle: str) -> Result:
        """Run a bundle, given as JSON, and wait for its result.

        Raises WorkerDied, SandboxError if no kernel can be isolated, and RuntimeError if
        grading itself failed.
        """
        future: Future[dict[str, Any]] = Future()
        with self.lock:
            self.number += 1
            self.waiting[self.number] = future
            self._send({"id": self.number, "bundle": bundle})
        answer = future.result()
        if "refused" in answer:
            raise SandboxError(answer["refused"])
        if "failed" in answer:
            raise RuntimeError(answer["failed"])
        return store.from_json(answer["result"])

    def _send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise WorkerDied(f"the worker has ended: {error}") from error

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            answer = json.loads(line)
            with self.lock:
                future = self.waiting.pop(answer["id"])
            future.set_result(answer)
        with self.lock:
            for future in self.waiting.values():
                future.set_exception(WorkerDied("the worker ended in the middle"))

    def close(self) -> None:
        """End the process and all of its kernels."""
        assert self.process.stdin is not None
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


class _Server:
    """The worker's own side: a sandbox for each set of modules, and so many slots."""

    def __init__(self, slots: int) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.sandboxes: dict[tuple[str, ...], Sandbox] = {}
        self.answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # whatever prints does not get between the answers

    async def serve(self) -> None:
        """Answer every line until the input ends."""
        lines = asyncio.StreamReader(limit=LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        tasks: set[asyncio.Task[None]] = set()
        while line := await lines.readline():
            task = asyncio.ensure_future(self._answer(json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(sandbox.close() for sandbox in self.sandboxes.values()))

    async def _answer(self, wanted: dict[str, Any]) -> None:
        async with self.slots:
            answer = {"id": wanted["id"]} | await self._run(wanted["bundle"])
        self.answers.write(json.dumps(answer).encode() + b"\n")
        self.answers.flush()

    async def _run(self, text: str) -> dict[str, str]:
        try:
            bundle = Bundle.from_json(text)
            if bundle.imports not in self.sandboxes:
                self.sandboxes[bundle.imports] = Sandbox(imports=bundle.imports)
            return {"result": store.to_json(await execute(bundle, self.sandboxes[bundle.imports]))}
        except SandboxError as error:
            return {"refused": str(error)}
        except Exception as error:  # the batch goes on; the summary names it
            return {"failed": f"{type(error).__name__}: {error}"}


async def _main() -> None:
    await _Server(int(sys.argv[1])).serve()


if __name__ == "__main__":
    asyncio.run(_main())
