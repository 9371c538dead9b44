"""A kernel's end is the end of all it started, and a sandbox's end leaves nothing."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tutor_lib.grading.sandbox.guest import Guest
from tutor_lib.grading.sandbox.sandbox import Sandbox

DAEMON = (
    "import os, signal, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0:\n"
    "        for number in range(1, 65):\n"
    "            try: signal.signal(number, signal.SIG_IGN)\n"
    "            except (OSError, ValueError): pass\n"
    "        open('/dev/shm/NAME', 'w').write('here')\n"
    "        time.sleep(600)\n"
    "    os._exit(0)\n"
    "os.wait()\n"
    "while not os.path.exists('/dev/shm/NAME'): time.sleep(0.01)\n"
)


def _holding(word: str) -> list[str]:
    """Processes of this machine whose command or environment has `word` in it."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and folder.name != str(os.getpid()):
            try:
                text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:
                continue
            if word.encode() in text:
                found.append(folder.name)
    return found


def _gone(is_there, seconds: float = 15) -> bool:
    until = time.monotonic() + seconds
    while is_there() and time.monotonic() < until:
        time.sleep(0.05)
    return not is_there()


def _children() -> set[str]:
    """Every process below this one."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, fields = path.parent.name, path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[name] = fields[1]
    below = {str(os.getpid())}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return below - {str(os.getpid())}


def test_a_daemon_ends_with_its_kernel(either, start):
    kernel = start(either)
    before = _children()
    kernel.run(DAEMON.replace("NAME", "daemon"))
    assert _children() - before
    kernel.manager.provisioner._running.stop()
    kernel.ending()
    assert not _children() & (_children() - before)


def test_close_leaves_nothing(either):
    """Even of kernels that nobody has shut down."""
    before, folders = _children(), set(Path(tempfile.gettempdir()).glob("tutor-*"))

    async def use():
        sandbox = Sandbox((), warm=either.warm)
        await sandbox.start_kernel()
        await sandbox.start_kernel(Guest(files={"a": b"1"}))
        await sandbox.close()

    asyncio.run(use())
    assert _gone(lambda: _children() - before)
    assert set(Path(tempfile.gettempdir()).glob("tutor-*")) <= folders


OWNER = """
import asyncio, sys
from importlib.metadata import EntryPoint
from jupyter_client.provisioning import KernelProvisionerFactory as Factory
from tutor_lib.grading.sandbox.sandbox import NAME, Sandbox
value = "tutor_lib.grading.sandbox.provisioner:SandboxProvisioner"
Factory.instance().provisioners.setdefault(NAME, EntryPoint(NAME, value, Factory.GROUP_NAME))

async def main():
    sandbox = Sandbox((), warm=sys.argv[1] == "True")
    kernels = [await sandbox.start_kernel() for _ in range(2)]
    client = kernels[0].client()
    client.start_channels()
    client.execute("while True: pass")
    print("running", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_a_killed_owner_leaves_nothing(either):
    """SIGKILL: no clean-up of its own runs."""
    short = tempfile.mkdtemp(prefix="o-")
    os.chmod(short, 0o1777)  # as /tmp is
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(either.warm)],
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": short},
    )
    assert owner.stdout.readline() == b"running\n"
    # What a sandbox runs has its folder in its command, or is a child of what has.
    assert list(Path(short).glob("tutor-*"))
    assert _holding(short)
    below = _below(owner.pid)
    assert len(below) >= 4
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    gone = _gone(lambda: [n for n in below if os.path.exists(f"/proc/{n}")])
    if not gone:
        _kill(below)  # a failure must not go on using the machine
    assert gone
    assert _gone(lambda: list(Path(short).iterdir()))
    os.rmdir(short)


def _kill(numbers) -> None:
    for number in numbers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(number), signal.SIGKILL)


def _below(root: int) -> set[str]:
    return {
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/stat")
        if str(root) in _ancestors(path.parent.name)
    }


def _ancestors(number: str) -> list[str]:
    found = []
    while number not in ("0", "1"):
        try:
            number = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            break
        found.append(number)
    return found


def test_a_template_that_was_killed_is_started_again(warm):
    async def use():
        sandbox = Sandbox(())
        first = await sandbox.start_kernel()
        for process in sandbox._outer:
            _kill(_below(process.pid) | {str(process.pid)})
        await first.provisioner.wait()
        note = first.provisioner.ending
        await first.shutdown_kernel(now=True)
        second = await sandbox.start_kernel()
        alive = await second.is_alive()
        await second.shutdown_kernel(now=True)
        await sandbox.close()
        return note.code, alive

    assert asyncio.run(use()) == ("died", True)
