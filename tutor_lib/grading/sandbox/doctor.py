"""What the sandbox enforces on this machine: each thing is tried, in a real kernel."""

import asyncio
import socket
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tutor_lib.grading.limits import MIB, Limits
from tutor_lib.grading.sandbox.guest import Guest, SandboxError
from tutor_lib.grading.sandbox.manager import SandboxManager
from tutor_lib.grading.sandbox.sandbox import Sandbox

SMALL = Limits(memory_bytes=128 * MIB, processes=16, cpu_seconds=1.0, disk_bytes=8 * MIB)
PATIENCE = 30.0  # seconds for one trial


@dataclass(frozen=True)
class Finding:
    """One thing that was tried: whether it is as it should be, and whether grading needs it."""

    name: str
    good: bool
    told: str
    essential: bool = True


# What a kernel must not be able to do: code that prints "open" if it can.
CLOSED = {
    "network": "import socket; socket.create_connection(('127.0.0.1', {port}), 2); print('open')",
    "abstract sockets": "import socket; socket.socket(socket.AF_UNIX).connect({abstract!r});"
    " print('open')",
    "files of the course": "print(open({secret!r}).read() and 'open')",
    "writing outside": "open('/usr/tutor', 'w'); print('open')",
    "other processes": "import os; [n for n in os.listdir('/proc') if n.isdigit() and int(n) > 2]"
    " and print('open')",
    "tracing process 1": "open('/proc/1/mem'); print('open')",
}
# A process with threads may never have a new user namespace: a child asks.
NESTED = (
    "import ctypes, os\n"
    "if os.fork() == 0: os._exit(ctypes.CDLL(None).unshare(0x10000000) == 0)\n"
    "if os.wait()[1]: print('open')"
)
# What ends a kernel: the note's code, and code that takes too much.
ENDED = {
    "memory": "x = bytearray(300 << 20)\nwhile True: pass",
    "processes": "import os, time\nfor _ in range(40):\n    if os.fork() == 0: time.sleep(60)",
    "cpu": "while True: pass",
    "disk": "for i in range(3): open(f'/tmp/{i}', 'wb').write(bytes(4 << 20))\nwhile True: pass",
}


def examine() -> list[Finding]:
    """Try everything, in about ten seconds."""
    return asyncio.run(_examine())


def table(findings: Iterable[Finding]) -> str:
    """The findings as lines of text."""
    return "\n".join(f"{_mark(each):9} {each.name:20} {each.told}" for each in findings)


def _mark(finding: Finding) -> str:
    return "yes" if finding.good else "NO" if finding.essential else "no"


async def _examine() -> list[Finding]:
    sandbox = Sandbox(imports=())
    try:
        manager = await sandbox.start_kernel(Guest(limits=SMALL))
        await manager.shutdown_kernel(now=True)
        found = [Finding("sandbox", True, "bubblewrap starts a kernel"), _warmth(sandbox)]
        found += await _closed(sandbox)
        return found + [await _ended(sandbox, code, cell) for code, cell in ENDED.items()]
    except SandboxError as error:
        return [Finding("sandbox", False, str(error))]
    finally:
        await sandbox.close()


def _warmth(sandbox: Sandbox) -> Finding:
    told = (
        "kernels are forked from a warm template"
        if sandbox.warm
        else f"namespaces cannot be nested ({sandbox.refusal}): each kernel starts cold, in seconds"
    )
    return Finding("warm forking", bool(sandbox.warm), told, essential=False)


async def _closed(sandbox: Sandbox) -> list[Finding]:
    with (
        tempfile.NamedTemporaryFile("w", prefix="tutor-secret-") as secret,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        secret.write("secret")
        secret.flush()
        unix.bind(abstract := f"\0tutor-{Path(secret.name).name}")
        unix.listen()
        about = {"port": server.getsockname()[1], "abstract": abstract, "secret": secret.name}
        cells = {name: cell.format(**about) for name, cell in CLOSED.items()}
        return [await _shut(sandbox, name, cell) for name, cell in cells.items()] + [
            await _shut(sandbox, "nested namespaces", NESTED, essential=False)
        ]


async def _shut(sandbox: Sandbox, name: str, cell: str, *, essential: bool = True) -> Finding:
    manager = await sandbox.start_kernel()
    try:
        is_open = "open" in await _printed(manager, cell)
    except TimeoutError:
        return Finding(name, False, f"no answer within {PATIENCE:g} s", essential)
    finally:
        await manager.shutdown_kernel(now=True)
    return Finding(name, not is_open, "open to a student" if is_open else "closed", essential)


async def _printed(manager: SandboxManager, cell: str) -> str:
    printed: list[str] = []
    client = manager.client()
    client.start_channels()
    try:
        await client.wait_for_ready(timeout=PATIENCE)
        await client.execute_interactive(
            cell,
            timeout=PATIENCE,
            output_hook=lambda message: printed.append(message["content"].get("text", "")),
        )
    finally:
        client.stop_channels()
    return "".join(printed)


async def _ended(sandbox: Sandbox, code: str, cell: str) -> Finding:
    """Whether a kernel that takes too much is ended, and for the right reason."""
    manager = await sandbox.start_kernel(Guest(limits=SMALL))
    provisioner: Any = manager.provisioner
    client = manager.client()
    client.start_channels()
    try:
        client.execute(cell)
        await asyncio.wait_for(provisioner.wait(), PATIENCE)
        ending = provisioner.ending
        why = ending.told if ending else "it ended without a reason"
        return Finding(f"limit: {code}", bool(ending and ending.code == code), why)
    except TimeoutError:
        return Finding(f"limit: {code}", False, f"it still ran after {PATIENCE:g} s")
    finally:
        client.stop_channels()
        await manager.shutdown_kernel(now=True)
