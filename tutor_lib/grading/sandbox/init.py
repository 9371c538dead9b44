"""Process 1 of a kernel's namespace: starts the kernel, reaps what is orphaned, and ends with it.

When it ends, Linux ends all that is left in the namespace. From inside nobody can signal it but
with SIGINT, which it passes on to the kernel, or trace it: it has privileges that the kernel has
not, or has closed itself to inspection.
"""

import contextlib
import os
import signal
import socket
from typing import NoReturn

from tutor_lib.grading.sandbox.guest import Request
from tutor_lib.grading.sandbox.kernel import be_kernel


def be_init(request: Request, link: int | None, inner: socket.socket) -> NoReturn:
    """Run the kernel and end as it does. `inner` is told whether it could start."""
    kernel = os.fork()
    if kernel == 0:
        be_kernel(request, link, inner)
    signal.signal(signal.SIGINT, lambda *_: _interrupt(kernel))
    inner.close()
    if link is not None:
        os.close(link)
    request.files.clear()
    ended, status = os.wait()
    while ended != kernel:
        ended, status = os.wait()
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _interrupt(kernel: int) -> None:
    """As a terminal does: the kernel and the processes it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(kernel, signal.SIGINT)
