"""The processes around bubblewrap: one waits and clears up, its child makes bubblewrap ready.

They are told, as JSON in their one argument, an Order. Where the owner is root they go on as
nobody, who could not enter the owner's folders: so the child first lays open what must be seen
inside, in a mount namespace of its own. The one that clears up never sees these mounts.
"""

import json
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from tutor_lib.grading.sandbox import bwrap, linux
from tutor_lib.grading.sandbox.guest import JUDGE, KERNEL, TEMPLATE, Request
from tutor_lib.grading.sandbox.supervisor import Supervisor


@dataclass(frozen=True)
class Order:
    """Start a template that listens on `descriptor`; or, cold, one kernel or judge asked for there.

    `folder` is the sandbox's own, with a subfolder for each kernel.
    """

    folder: str
    descriptor: int
    imports: tuple[str, ...]
    wanted: str = TEMPLATE
    link: int = -1

    def words(self) -> list[str]:
        """The command that carries it out."""
        start = "import sys; sys.path.append(sys.argv[1]); import {0} as m; m.main(sys.argv[2])"
        return [sys.executable, "-P", "-s", "-c", start.format(__name__),
                str(bwrap.PACKAGE.parent), json.dumps(asdict(self))]  # fmt: skip


def main(told: str) -> None:
    """Carry out an order, and leave nothing of it."""
    order = Order(**json.loads(told))
    is_root, owner = os.geteuid() == 0, os.getppid()
    if (child := os.fork()) == 0:
        _carry_out(order, is_root)
        return
    for descriptor in {order.descriptor, order.link} - {-1}:
        os.close(descriptor)
    if is_root:
        _become_nobody()
    os.waitpid(child, 0)
    # A cold one's sandbox may have others, and its owner clears up, unless it was killed.
    if order.wanted == TEMPLATE or os.getppid() != owner:
        shutil.rmtree(order.folder, ignore_errors=True)


def _carry_out(order: Order, is_root: bool) -> None:
    sources = [(path, path) for path in bwrap.binds()]
    if is_root:
        sources = _lay_open(sources, order.folder)
        _become_nobody()
    linux.die_with_parent()
    {TEMPLATE: _template, KERNEL: _one_kernel, JUDGE: _one_judge}[order.wanted](order, sources)


def _lay_open(sources: Sequence[tuple[str, str]], folder: str) -> list[tuple[str, str]]:
    """Bind each source where nobody can reach it."""
    linux.unshare(linux.NEWNS)
    linux.mount("none", "/", "", linux.RECURSIVE | linux.PRIVATE)
    linux.mount("tmpfs", f"{folder}/open", "tmpfs", 0, "mode=0755")
    return [(_bind(source, f"{folder}/open/{i}"), seen) for i, (source, seen) in enumerate(sources)]


def _bind(source: str, target: str) -> str:
    if os.path.isdir(source):
        os.mkdir(target)
    else:
        os.close(os.open(target, os.O_CREAT))
    linux.mount(source, target, "", linux.BIND | linux.RECURSIVE)
    return target


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(bwrap.USER, bwrap.USER, bwrap.USER)
    os.setresuid(bwrap.USER, bwrap.USER, bwrap.USER)


def _template(order: Order, sources: Sequence[tuple[str, str]]) -> None:
    options = bwrap.around_template(sources, f"{order.folder}/kernels")
    child = _bubblewrap(options, [str(order.descriptor), *order.imports], [order.descriptor])
    os.close(order.descriptor)
    child.wait()


def _bubblewrap(
    options: Sequence[str], arguments: Sequence[str], kept: Sequence[int]
) -> subprocess.Popen[bytes]:
    files = {place: _in_memory(text) for place, text in bwrap.FILES.items()}
    made = [word for place, fd in files.items() for word in ("--ro-bind-data", str(fd), place)]
    # The last options close the root, so these go first.
    command = ["bwrap", *made, *options, "--", sys.executable, "-P", "-s",
               "-m", "tutor_lib.grading.sandbox.template", *arguments]  # fmt: skip
    return subprocess.Popen(command, pass_fds=[*files.values(), *kept])


def _in_memory(text: str) -> int:
    descriptor = os.memfd_create("etc")
    os.write(descriptor, text.encode())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _one_kernel(order: Order, sources: Sequence[tuple[str, str]]) -> None:
    """Start a kernel cold, and be its supervisor."""
    owner = socket.socket(fileno=order.descriptor)
    with owner.makefile("rb") as stream:
        request = Request.read(stream)
    folder = f"{order.folder}/kernels/{request.folder}"
    inner, theirs = socket.socketpair()
    told, tells = os.pipe()
    options = bwrap.around_kernel(sources, folder, request.limits.disk_bytes)
    kept = [theirs.fileno(), tells, *([order.link] if order.link >= 0 else [])]
    arguments = ["--kernel", str(theirs.fileno()), str(order.link), *order.imports]
    child = _bubblewrap(["--info-fd", str(tells), *options], arguments, kept)
    for descriptor in (theirs.detach(), *kept[1:]):
        os.close(descriptor)
    with inner.makefile("wb") as stream:
        request.write(stream)
    with os.fdopen(told) as about:
        init = json.load(about)["child-pid"]
    Supervisor(init, child.pid, inner, owner, request.limits, ThreadPoolExecutor(1)).run()


def _one_judge(order: Order, sources: Sequence[tuple[str, str]]) -> None:
    """Start a judge cold, and end it when its owner goes."""
    options = bwrap.around_judge(sources)
    arguments = ["--judge", str(order.descriptor), str(order.link), *order.imports]
    child = _bubblewrap(options, arguments, [order.descriptor, order.link])
    os.close(order.link)  # the student's side must see it when the judge ends
    gone = select.poll()
    gone.register(order.descriptor, 0)  # a hang-up is always told
    gone.register(os.pidfd_open(child.pid), select.POLLIN)
    gone.poll()
    child.kill()
    child.wait()
