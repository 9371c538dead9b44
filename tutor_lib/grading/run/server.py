"""The worker's own process: a sandbox, in which it runs the bundles that it is sent.

It reads a line of JSON for each bundle and writes one for each result. When its input ends,
because whoever started it has gone, all of its kernels end too.

    python -m tutor_lib.grading.run.server SLOTS
"""

import asyncio
import contextlib
import gc
import json
import os
import sys
from typing import Any

from tutor_lib.grading.run import store
from tutor_lib.grading.run.bundle import Bundle
from tutor_lib.grading.run.executor import execute
from tutor_lib.grading.sandbox.guest import SandboxError
from tutor_lib.grading.sandbox.sandbox import Sandbox

LINE = 1 << 30  # the longest line: a bundle with its files


class Server:
    """Runs so many bundles at once."""

    def __init__(self, slots: int) -> None:
        self.slots = asyncio.Semaphore(slots)
        self.sandbox = Sandbox(imports=())
        self.answers = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)  # whatever prints does not get between the answers

    async def serve(self) -> None:
        """Answer every line until the input ends."""
        lines = asyncio.StreamReader(limit=LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        tasks = {asyncio.ensure_future(self._warm_up())}
        while line := await lines.readline():
            task = asyncio.ensure_future(self._answer(json.loads(line)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.sandbox.close()

    async def _warm_up(self) -> None:
        """What a kernel takes to start is there when the first bundle comes."""
        with contextlib.suppress(SandboxError):  # the first bundle will hear of it
            await self.sandbox.prepare()

    async def _answer(self, wanted: dict[str, Any]) -> None:
        async with self.slots:
            answer = {"id": wanted["id"]} | await self._run(wanted["bundle"])
        self.answers.write(json.dumps(answer).encode() + b"\n")
        self.answers.flush()

    async def _run(self, text: str) -> dict[str, str]:
        try:
            bundle = Bundle.from_json(text)
            await self.sandbox.prepare(bundle.imports)
            return {"result": store.to_json(await execute(bundle, self.sandbox))}
        except SandboxError as error:
            return {"refused": str(error)}
        except Exception as error:  # the batch goes on; the summary names it
            return {"failed": f"{type(error).__name__}: {error}"}


async def _main() -> None:
    gc.freeze()  # what is imported stays
    await Server(int(sys.argv[1])).serve()


if __name__ == "__main__":
    asyncio.run(_main())
