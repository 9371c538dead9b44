"""Real kernels in a real sandbox, warm and cold, for tests to be hostile in."""

import asyncio
import contextlib
from importlib.metadata import EntryPoint
from typing import NamedTuple

import pytest
from jupyter_client.provisioning import KernelProvisionerFactory
from nbformat.v4 import output_from_msg

from tutor_lib.grading.limits import MIB, Limits
from tutor_lib.grading.sandbox.guest import Guest, SandboxError
from tutor_lib.grading.sandbox.sandbox import NAME, Sandbox

SMALL = Limits(memory_bytes=300 * MIB, processes=30, cpu_seconds=1.5, disk_bytes=24 * MIB,
               file_bytes=8 * MIB)  # fmt: skip


class Said(NamedTuple):
    """What a cell did: its text, and the name and text of its error, if any."""

    text: str
    error: str


class Kernel:
    """A kernel in the sandbox, driven from ordinary code."""

    def __init__(self, sandbox: Sandbox, guest: Guest) -> None:
        self._runner = asyncio.Runner()
        self.manager = self._do(sandbox.start_kernel(guest))
        self._client = self._do(self._connect())

    def _do(self, what):
        return self._runner.run(asyncio.wait_for(what, 60))

    async def _connect(self):
        client = self.manager.client()
        client.start_channels()
        await client.wait_for_ready(timeout=30)
        return client

    def run(self, code: str, seconds: float = 20) -> Said:
        """Run a cell; fails if it does not end in time."""
        return self._do(self._run(code, seconds))

    def run_interrupted(self, code: str) -> Said:
        """Run a cell, and interrupt it until it ends."""

        async def both():
            running = asyncio.ensure_future(self._run(code, 30))
            while not running.done():
                await asyncio.sleep(0.3)
                await self.manager.interrupt_kernel()
            return await running

        return self._do(both())

    async def _run(self, code: str, seconds: float) -> Said:
        outputs = []

        def keep(message):
            if message["msg_type"] in ("stream", "error", "execute_result"):
                outputs.append(output_from_msg(message))

        await self._client.execute_interactive(code, timeout=seconds, output_hook=keep)
        text = "".join(o.text for o in outputs if o.output_type == "stream")
        errors = [f"{o.ename}: {o.evalue}" for o in outputs if o.output_type == "error"]
        return Said(text, "".join(errors))

    def send(self, code: str) -> None:
        """Start a cell, and do not wait for it."""
        self._do(self._send(code))

    async def _send(self, code: str) -> None:
        self._client.execute(code)
        await asyncio.sleep(0)

    def ending(self, seconds: float = 20):
        """Wait until the kernel has ended; the code of why."""
        self._runner.run(asyncio.wait_for(self.manager.provisioner.wait(), seconds))
        note = self.manager.provisioner.ending
        return note and note.code

    def close(self) -> None:
        self._client.stop_channels()
        self._do(self.manager.shutdown_kernel(now=True))
        self._runner.close()


@pytest.fixture(scope="session", autouse=True)
def _provisioner():
    """The entry point, also where the package was installed before it had one."""
    value = "tutor_lib.grading.sandbox.provisioner:SandboxProvisioner"
    point = EntryPoint(NAME, value, KernelProvisionerFactory.GROUP_NAME)
    KernelProvisionerFactory.instance().provisioners.setdefault(NAME, point)


def _sandbox(imports, warm):
    sandbox = Sandbox(imports, warm=warm)
    try:
        Kernel(sandbox, Guest()).close()
    except SandboxError as error:
        sandbox.end()
        pytest.skip(f"no {'warm' if warm else 'cold'} sandbox on this machine: {error}")
    return sandbox


@pytest.fixture(scope="session")
def warm():
    """Kernels forked from a template with torch."""
    with contextlib.closing(_Ends(_sandbox(("torch",), True))) as held:
        yield held.sandbox


@pytest.fixture(scope="session")
def cold():
    """Kernels with a bubblewrap of their own, and without torch, to start sooner."""
    with contextlib.closing(_Ends(_sandbox((), False))) as held:
        yield held.sandbox


class _Ends:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox, self.close = sandbox, sandbox.end


@pytest.fixture(params=["warm", "cold"])
def either(request) -> Sandbox:
    """Each kind of sandbox: what is forbidden in one is forbidden in the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def start():
    """Start kernels, with small limits unless told, that end with the test."""
    kernels = []

    def start(sandbox: Sandbox, guest: Guest | None = None) -> Kernel:
        kernels.append(Kernel(sandbox, guest or Guest(limits=SMALL)))
        return kernels[-1]

    yield start
    for kernel in kernels:
        kernel.close()


@pytest.fixture
def kernel(either, start) -> Kernel:
    """One kernel, warm and cold in turn."""
    return start(either)
