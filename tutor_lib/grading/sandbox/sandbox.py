"""The owner's side: a template that kernels are forked from, started once, when first needed."""

import asyncio
import contextlib
import functools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from jupyter_client.kernelspec import KernelSpecManager

from tutor_lib.grading.sandbox import bwrap
from tutor_lib.grading.sandbox.guest import (
    JUDGE,
    KERNEL,
    TEMPLATE,
    Guest,
    Request,
    SandboxError,
)
from tutor_lib.grading.sandbox.manager import SandboxManager
from tutor_lib.grading.sandbox.outer import Order
from tutor_lib.grading.sandbox.running import Running
from tutor_lib.grading.sandbox.template import PROBE

NAME = "tutor-sandbox"
KERNELS = Path(__file__).parent / "jupyter" / "kernels"
IMPORTS = ("torch", "matplotlib.pyplot")
PATIENCE = 180.0  # seconds to import everything, on a slow disk, for the first time
SOCKET_PATH = 107  # bytes, Linux's limit

INSTALL = "Install bubblewrap 0.8 or newer (Debian, Ubuntu, Fedora: the package 'bubblewrap')."


class Sandbox:
    """Starts kernels in which code that nobody has read may run.

    The first kernel starts the template, which imports `imports` once, and later what `prepare`
    is told; every kernel is a fork of it. `warm` is None until then, and False where this machine
    lets no namespaces be nested, for the reason in `refusal`: each kernel then starts in a
    bubblewrap of its own, and imports for itself. Who says `warm` wants this kind and no other.

    Raises SandboxError where nothing can be isolated. Nothing ever runs outside a sandbox.
    """

    def __init__(self, imports: Sequence[str] = IMPORTS, *, warm: bool | None = None) -> None:
        self._imports = tuple(imports)
        self.warm = warm
        self.refusal = ""
        self._lock = threading.RLock()
        self._control: socket.socket | None = None
        self._template: subprocess.Popen[bytes] | None = None
        self._outer: list[subprocess.Popen[bytes]] = []
        self._kernels: weakref.WeakSet[Running] = weakref.WeakSet()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._log: BinaryIO | None = None

    async def prepare(self, imports: Iterable[str] = ()) -> None:
        """Have a template by now, and these modules too in every kernel from now on.

        Raises SandboxError.
        """
        await asyncio.to_thread(self._prepare, imports)

    def _prepare(self, imports: Iterable[str]) -> None:
        with self._lock:
            self._start()
            if new := [module for module in imports if module not in self._imports]:
                self._imports += tuple(new)
                with contextlib.suppress(OSError):  # it has ended: the next has them from the start
                    if self._control:
                        self._control.sendall(json.dumps(new).encode())

    async def start_kernel(self, guest: Guest | None = None) -> SandboxManager:
        """A started kernel's manager, as jupyter_client has it: `manager.client()` talks to it.

        Its `provisioner` tells what the kernel uses, and why it ended. Raises SandboxError.
        """
        manager = SandboxManager(
            kernel_name=NAME,
            kernel_spec_manager=KernelSpecManager(kernel_dirs=[str(KERNELS)]),
        )
        try:
            await manager.start_kernel(sandbox=self, guest=guest or Guest())
        except BaseException:
            await manager.cleanup_resources()
            raise
        return manager

    def new_folder(self) -> Path:
        """A folder for one kernel's sockets, once it is known where it must be.

        Waits for the template, if there is none yet. Raises SandboxError.
        """
        with self._lock:
            self._start()
            folder = self._base() / "kernels" / secrets.token_hex(4)
        _make(folder)
        return folder

    def run(self, request: Request, link: int | None) -> Running:
        """Start a kernel in a new folder, and wait for it. Raises SandboxError."""
        ours = self._ask_for(KERNEL, link)
        running = Running(ours, request.limits)
        self._kernels.add(running)
        try:
            running.start(request, PATIENCE)
        except SandboxError as error:
            running.close()
            raise SandboxError(f"{error}{self._said()}") from error
        return running

    async def start_judge(self, guest: Guest) -> tuple[socket.socket, int]:
        """A judge that judges over the guest's link: a connection, and a process descriptor.

        The guest's files are not for it. Raises SandboxError.
        """
        return await asyncio.to_thread(self._start_judge, guest)

    def _start_judge(self, guest: Guest) -> tuple[socket.socket, int]:
        with self._lock:
            self._start()
        ours = self._ask_for(JUDGE, guest.link)
        ours.settimeout(PATIENCE)
        try:
            with ours.makefile("wb") as stream:
                Request("", {}, guest.limits, guest.environment, {}).write(stream)
            said, descriptors, _, _ = socket.recv_fds(ours, 1 << 16, 1)
        except OSError as error:
            said, descriptors = str(error).encode(), []
        if not descriptors:
            ours.close()
            told = said.decode(errors="replace") or "it ended without a word"
            raise SandboxError(f"no judge came: {told}{self._said()}")
        return ours, descriptors[0]

    async def close(self) -> None:
        """End every kernel, and leave nothing behind."""
        await asyncio.to_thread(self.end)

    def end(self) -> None:
        """As `close`, without asyncio."""
        for kernel in self._kernels:
            kernel.stop()
        for process in self._outer:  # all inside ends too, and no start is waited for
            process.kill()
        with self._lock:
            if self._control:
                self._control.close()
            for process in self._outer:
                process.wait()
            if self._log:
                self._log.close()
            if self._folder:
                shutil.rmtree(self._folder.name, ignore_errors=True)
                self._folder.cleanup()
            self._control = self._template = self._log = self._folder = None
            self._outer = []

    def _start(self) -> None:
        """Have a template, where there can be one; if somebody has ended it, another."""
        if self._template and self._template.poll() is not None:
            self.end()
        if self._control or self.warm is False:
            return
        _check_machine()
        ours, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            process = self._order(theirs.fileno())
        ours.settimeout(PATIENCE)
        said = self._first_line(ours)
        if "ready" in said:
            self._control, self._template, self.warm = ours, process, True
            return
        ours.close()
        if "refused" not in said or self.warm:
            _wait(process)
            why = said.get("refused", "no template came")
            raise SandboxError(f"bubblewrap cannot work here: {why}.{self._said()}\n{INSTALL}")
        self.end()  # the template takes the folder along
        self.warm, self.refusal = False, said["refused"]

    def _first_line(self, control: socket.socket) -> Mapping[str, Any]:
        try:
            with control.makefile("rb") as lines:
                return json.loads(lines.readline() or b"{}")
        except TimeoutError:
            return {}

    def _ask_for(self, wanted: str, link: int | None) -> socket.socket:
        """Ask for a kernel or a judge; our end of a connection to it. `_start` has been called."""
        ours, theirs = socket.socketpair()
        with theirs:
            if self.warm:
                self._ask_template(wanted, [theirs.fileno(), *([] if link is None else [link])])
            else:
                self._order(theirs.fileno(), wanted, link)
        return ours

    def _ask_template(self, wanted: str, descriptors: Sequence[int]) -> None:
        assert self._control is not None
        try:
            socket.send_fds(self._control, [wanted.encode()], descriptors)
        except OSError as error:
            raise SandboxError(f"the template has ended.{self._said()}") from error

    def _order(
        self, descriptor: int, wanted: str = TEMPLATE, link: int | None = None
    ) -> subprocess.Popen[bytes]:
        _check_machine()
        order = Order(
            str(self._base()), descriptor, self._imports, wanted, -1 if link is None else link
        )
        process = subprocess.Popen(
            order.words(),
            env={"PATH": os.environ.get("PATH", os.defpath)},
            pass_fds=[descriptor, *([link] if link is not None else [])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
            start_new_session=True,  # Ctrl-C in a terminal is for the owner to handle
        )
        self._outer = [p for p in self._outer if p.poll() is None] + [process]
        return process

    def _base(self) -> Path:
        """This sandbox's folder: open to the user inside, closed to everybody else."""
        with self._lock:
            if self._folder is None:
                _check_length(tempfile.gettempdir())
                self._folder = tempfile.TemporaryDirectory(prefix="tutor-")
                self._log = tempfile.TemporaryFile()
                for folder in ("", "open", "kernels", f"kernels/{PROBE}"):
                    _make(Path(self._folder.name, folder))
            return Path(self._folder.name)

    def _said(self) -> str:
        """The last that was written to the standard error of what was started."""
        if self._log is None:
            return ""
        self._log.seek(0)
        text = self._log.read()[-3000:].decode(errors="replace").strip()
        return f"\n{text}" if text else ""


def _make(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, bwrap.USER, bwrap.USER)


def _wait(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)
        return
    process.kill()
    process.wait()


def _check_length(parent: str) -> None:
    """Raise SandboxError if sockets below `parent` would have too long a path."""
    longest = os.path.join(parent, "tutor-12345678", "kernels", "12345678", "k-5")
    if len(os.fsencode(longest)) > SOCKET_PATH:
        raise SandboxError(f"{parent} is too long for a socket: set TMPDIR to a shorter path")


def _check_machine() -> None:
    if sys.platform != "linux":
        raise SandboxError(f"a sandbox needs Linux, and this is {sys.platform}: grade on Linux")
    if shutil.which("bwrap") is None:
        raise SandboxError(f"no program named bwrap on the PATH. {INSTALL}")


@functools.cache
def shared() -> Sandbox:
    """The sandbox of kernels that were started by name; it ends with this process."""
    return Sandbox()
