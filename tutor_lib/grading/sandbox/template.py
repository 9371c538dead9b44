"""Inside bubblewrap: import what takes time once, then fork whoever is asked for.

    python -m tutor_lib.grading.sandbox.template CONTROL [MODULE ...]
    python -m tutor_lib.grading.sandbox.template --kernel INNER LINK [MODULE ...]
    python -m tutor_lib.grading.sandbox.template --judge CHANNEL LINK [MODULE ...]

CONTROL, INNER, CHANNEL and LINK are numbers of open descriptors; LINK is -1 where there is none.
The latter two are a kernel and a judge that start cold, in a bubblewrap of their own. No operation
of torch runs here: a fork after threads have started can hang.
"""

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

from tutor_lib.grading import quick
from tutor_lib.grading.limits import MIB
from tutor_lib.grading.sandbox import linux, room
from tutor_lib.grading.sandbox.guest import JUDGE, Request
from tutor_lib.grading.sandbox.init import be_init
from tutor_lib.grading.sandbox.judge import be_judge
from tutor_lib.grading.sandbox.supervisor import Supervisor

# What IPython imports when a kernel starts, and what its first cell, warning or error needs; and
# the two sides of the protocol.
READY = ("ipykernel.kernelapp", "ipykernel.ipkernel", "ipykernel.debugger", "IPython.core.debugger",
         "IPython.core.completerlib", "IPython.core.oinspect", "IPython.extensions.storemagic",
         "IPython.core.logger", "tornado.platform.asyncio", "pexpect", "faulthandler",
         "tutor_lib.grading.protocol.judge", "tutor_lib.grading.protocol.far")  # fmt: skip
# What a package imports when it is first used, so that not every kernel has to.
LATER = {
    "numpy": ("numpy.random", "numpy.testing"),
    "matplotlib.pyplot": ("matplotlib.backends.backend_agg", "PIL.features", "encodings.utf_16_be"),
}
# Nobody debugs there, and every fork has to copy the page tables of what is imported.
NEVER = ("debugpy",)
MESSAGE_BYTES = 1 << 16
PROBE = "probe"  # a folder among the kernels' that is there from the start


def main(arguments: Sequence[str]) -> None:
    """Serve until the owner goes; or be the one cold kernel, or judge."""
    if arguments[0] == "--kernel":
        _be_cold_kernel(int(arguments[1]), int(arguments[2]), arguments[3:])
    if arguments[0] == "--judge":
        warm_up((*READY, *arguments[3:]))
        be_judge(int(arguments[1]), int(arguments[2]), warm=False)
    with socket.socket(fileno=int(arguments[0])) as control:
        try:
            _try_namespaces()
        except OSError as error:
            control.sendall(json.dumps({"refused": str(error)}).encode() + b"\n")
            return
        warm_up((*READY, *arguments[1:]))
        control.sendall(b'{"ready": true}\n')
        _serve(control)


def warm_up(modules: Sequence[str]) -> None:
    """Import modules, and make the result fit to be forked.

    What cannot be imported is left to the cell that imports it to tell.
    """
    sys.modules.update(dict.fromkeys(NEVER))  # type: ignore[arg-type]
    with quick.imports():  # and no collection in a kernel copies the template's pages
        _import(modules)
        for module in LATER.keys() & sys.modules.keys():
            _import(LATER[module])
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(1)
            _compare_plain_tensors()
        gc.collect()


def _import(modules: Iterable[str]) -> None:
    for module in modules:
        with contextlib.suppress(Exception):
            importlib.import_module(module)


def _compare_plain_tensors() -> None:
    """Else the first `assert_close` imports 500 modules, for tensors on many machines."""
    comparison: Any = importlib.import_module("torch.testing._comparison")
    if hasattr(comparison, "_HAS_DTENSOR"):
        comparison._HAS_DTENSOR = False


def _serve(control: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # supervisors need no waiting for
    while True:
        asked, descriptors, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 2)
        if not asked:
            return
        if not descriptors:
            warm_up(json.loads(asked))
        elif os.fork() == 0:
            control.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if asked.decode() == JUDGE:
                be_judge(*descriptors)
            _be_supervisor(*descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _be_supervisor(connection: int, link: int | None = None) -> NoReturn:
    os.setsid()
    owner = socket.socket(fileno=connection)
    with owner.makefile("rb") as stream:
        request = Request.read(stream)
    inner, theirs = socket.socketpair()
    room.enter()
    apart = ThreadPoolExecutor(1)
    apart.submit(int).result()  # its thread starts now: later none could
    if (init := room.fork_init()) == 0:
        inner.close()
        owner.close()
        _furnish(request, theirs)
        be_init(request, link, theirs)
    theirs.close()
    if link is not None:
        os.close(link)
    request.files.clear()
    Supervisor(init, init, inner, owner, request.limits, apart).run()
    os._exit(0)


def _furnish(request: Request, inner: socket.socket) -> None:
    try:
        room.furnish(request.folder, request.limits.disk_bytes)
    except OSError as error:
        inner.sendall(json.dumps({"failed": str(error)}).encode() + b"\n")
        os._exit(1)


def _try_namespaces() -> None:
    """Raise OSError if a kernel could not have namespaces of its own."""
    told, tells = os.pipe()
    if (child := os.fork()) == 0:
        try:
            room.enter()
            if (init := room.fork_init()) == 0:
                room.furnish(PROBE, MIB)
                os._exit(0)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(init, 0)[1]))
        except BaseException as error:
            os.write(tells, str(error).encode())
            os._exit(1)
    os.close(tells)
    failed = os.waitpid(child, 0)[1]
    with os.fdopen(told) as reason:
        if failed:
            raise OSError(reason.read() or "the trial ended without a word")


def _be_cold_kernel(inner: int, link: int, modules: Sequence[str]) -> NoReturn:
    linux.be_inspectable(False)
    connection = socket.socket(fileno=inner)
    with connection.makefile("rb") as stream:
        request = Request.read(stream)
    warm_up((*READY, *modules))
    be_init(request, None if link < 0 else link, connection)


if __name__ == "__main__":
    main(sys.argv[1:])
