"""From a process that has imported everything to an IPython kernel without rights."""

import contextlib
import json
import os
import random
import resource
import socket
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from tutor_lib.grading.limits import Limits
from tutor_lib.grading.sandbox import linux, seccomp
from tutor_lib.grading.sandbox.bwrap import OWN
from tutor_lib.grading.sandbox.guest import Request

WORK = "/tmp/work"
CONNECTION = f"{OWN}/connection.json"
THREADS = 64  # beside the processes: torch, zmq and the rest have threads too
NICER = 10  # than its supervisor, which must get its turn among all that a kernel may start
DESCRIPTORS = 1024
OPTIONS = {"IPKernelApp": {"connection_file": CONNECTION}, "HistoryManager": {"enabled": False},
           "InteractiveShellApp": {"ignore_cwd": True}}  # fmt: skip


def be_kernel(request: Request, link: int | None, inner: socket.socket) -> NoReturn:
    """Become the kernel that `request` asks for, tell `inner`, and run."""
    try:
        prepare(request, link, {inner.fileno(), link})
        linux.be_inspectable(True)  # by the supervisor
        app = _application(request.connection)
        inner.sendall(b'{"started": true}\n')
        inner.close()
        app.start()
    except SystemExit:
        os._exit(0)
    except BaseException:
        told = traceback.format_exc()
        if inner.fileno() != -1:
            inner.sendall(json.dumps({"failed": told}).encode() + b"\n")
        os._exit(1)
    os._exit(0)


def prepare(request: Request, link: int | None, kept: set[int | None]) -> None:
    """Be this guest's process for good: its files and limits, no rights, no descriptors but
    those `kept`."""
    os.setsid()
    _close_descriptors(kept)
    _write_files(request.files)
    _limit(request.limits)
    os.environ.update(request.environment)
    if link is not None:
        os.set_inheritable(link, False)
        os.environ["TUTOR_LINK"] = str(link)
    # Where memory runs out on the whole machine, kernels go first.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    linux.give_up_privileges()
    seccomp.refuse()
    _reseed()


def _close_descriptors(kept: set[int | None]) -> None:
    """Leave nothing open, with nothing on the standard streams: ipykernel prints to them."""
    with open(os.devnull, "r+b", buffering=0) as null:
        for stream in range(3):
            os.dup2(null.fileno(), stream)
    for name in os.listdir("/proc/self/fd"):
        if (descriptor := int(name)) > 2 and descriptor not in kept:
            os.closerange(descriptor, descriptor + 1)


def _write_files(files: Mapping[str, bytes]) -> None:
    os.makedirs(WORK, exist_ok=True)
    os.chdir(WORK)
    # Last, so that a file of the guest's never stands in for a library's module.
    sys.path.append("")
    for name, data in files.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _limit(limits: Limits) -> None:
    """What each process may take; the supervisor holds all of them together to the limits."""
    os.nice(NICER)
    # The supervisor is to come first, and say why.
    _set(resource.RLIMIT_CPU, int(limits.cpu_seconds) + 5)
    _set(resource.RLIMIT_FSIZE, limits.file_bytes)
    _set(resource.RLIMIT_NOFILE, DESCRIPTORS)
    _set(resource.RLIMIT_CORE, 0)
    # A bound for what grows faster than the supervisor looks, wide enough that the supervisor
    # comes first, and says why. Not RLIMIT_AS, which breaks torch.
    _set(resource.RLIMIT_DATA, _data_bytes() + 4 * limits.memory_bytes)
    if _counts_by_namespace():
        _set(resource.RLIMIT_NPROC, limits.processes + THREADS)


def _set(which: int, most: int) -> None:
    hard = resource.getrlimit(which)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(which, (most, most))


def _data_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmData")


def _counts_by_namespace() -> bool:
    """Whether RLIMIT_NPROC counts these processes alone, and not all of the user's: Linux 5.14."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int(minor)) >= (5, 14)


def _reseed() -> None:
    """The same numbers in every kernel."""
    random.seed(0)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


# ipykernel is imported in the sandbox alone
def _application(connection: Mapping[str, Any]):  # type: ignore[no-untyped-def]
    from ipykernel.kernelapp import IPKernelApp
    from traitlets.config import Config

    class Application(IPKernelApp):
        def parse_command_line(self, argv=None):  # type: ignore[no-untyped-def]
            """There is none, and a parser of all options takes a fifth of the start."""

    Path(CONNECTION).write_text(json.dumps(dict(connection)))
    sys.argv = ["ipykernel"]
    app = Application.instance(config=Config(OPTIONS))
    app.initialize()
    os.unlink(CONNECTION)
    return app
