"""What jupyter_client calls to have a kernel in the sandbox: the entry point `tutor-sandbox`."""

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Any

from jupyter_client.connect import KernelConnectionInfo
from jupyter_client.provisioning import KernelProvisionerBase

from tutor_lib.grading.notes import Note
from tutor_lib.grading.sandbox.bwrap import OWN
from tutor_lib.grading.sandbox.guest import Guest, Request
from tutor_lib.grading.sandbox.running import Running
from tutor_lib.grading.sandbox.sandbox import Sandbox, shared

CHANNELS = ("shell", "iopub", "stdin", "hb", "control")


class SandboxProvisioner(KernelProvisionerBase):
    """A kernel in the sandbox. `start_kernel(sandbox=…, guest=…)` says which and for whom."""

    _running: Running | None = None
    _alive = False
    _folder: Path | None = None

    @property
    def has_process(self) -> bool:
        """Whether there is a kernel, or one whose end nobody has waited for."""
        return self._alive

    @property
    def ending(self) -> Note | None:
        """Why the kernel ended; None while it runs, and if its owner ended it."""
        return self._running.ending if self._running else None

    def usage(self) -> tuple[float, int]:
        """CPU seconds of all its processes, and the most memory they had together, in bytes."""
        return self._running.used() if self._running else (0.0, 0)

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Choose where the sockets will be."""
        self._sandbox: Sandbox = kwargs.pop("sandbox", None) or shared()
        self._guest: Guest = kwargs.pop("guest", None) or Guest()
        if self._folder is None:
            self._folder = await asyncio.to_thread(self._sandbox.new_folder)
        self._connect(self.parent, str(self._folder))
        return await super().pre_launch(cmd=[], **kwargs)

    def _connect(self, manager: Any, folder: str) -> None:
        manager.transport, manager.ip = "ipc", f"{folder}/k"
        for number, channel in enumerate(CHANNELS, start=1):
            setattr(manager, f"{channel}_port", number)
        # Beside the kernel's folder, not in it: root writes no file where a student could link.
        manager.connection_file = f"{folder}.json"
        self.connection_info = manager.get_connection_info()

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> KernelConnectionInfo:
        """Start it. Raises SandboxError."""
        assert self._folder is not None  # pre_launch has been called
        key = self.connection_info["key"]
        told = self.connection_info | {
            "ip": f"{OWN}/k",
            "key": key.decode() if isinstance(key, bytes) else key,
        }
        guest = self._guest
        request = Request(
            self._folder.name, told, guest.limits, guest.environment, dict(guest.files)
        )
        self._running = await asyncio.to_thread(self._sandbox.run, request, guest.link)
        self._alive = True
        return self.connection_info

    async def poll(self) -> int | None:
        """None while it runs, then its exit status."""
        return self._running.poll() if self._running else 0

    async def wait(self) -> int | None:
        """Wait until nothing of it is left; its exit status."""
        while (status := await self.poll()) is None:
            await asyncio.sleep(0.01)
        self._alive = False
        return status

    async def send_signal(self, signum: int) -> None:
        """SIGINT interrupts; SIGTERM and SIGKILL end it; other signals do not reach it."""
        if self._running and signum == signal.SIGINT:
            self._running.interrupt()
        elif self._running and signum in (signal.SIGTERM, signal.SIGKILL):
            self._running.stop()

    async def kill(self, restart: bool = False) -> None:
        """End it, and all its processes."""
        await self.send_signal(signal.SIGKILL)

    async def terminate(self, restart: bool = False) -> None:
        """As `kill`: what the kernel could still want to do is not wanted."""
        await self.send_signal(signal.SIGTERM)

    async def shutdown_requested(self, restart: bool = False) -> None:
        """It was asked to end: its ending is no accident."""
        if self._running:
            self._running.expect_end()

    async def cleanup(self, restart: bool = False) -> None:
        """Remove its folder."""
        if self._running:
            self._running.close()
        if self._folder and not restart:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
