"""A process that runs bundles, several at once, and hands their results back."""

import contextlib
import json
import subprocess
import sys
import threading
from concurrent.futures import Future
from typing import Any

from tutor_lib.grading.run import store
from tutor_lib.grading.sandbox.guest import SandboxError
from tutor_lib.grading.submission import Result

SERVER = "tutor_lib.grading.run.server"


class WorkerDied(RuntimeError):
    """The worker's process has ended; what was under way is to be run again."""


class Worker:
    """A worker's process, seen from the one that started it. Its methods may be called from
    any thread."""

    def __init__(self, slots: int) -> None:
        command = [sys.executable, "-m", SERVER, str(slots)]
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
