"""Where there can be no sandbox, nothing runs, and the message says what to do."""

import asyncio
import io
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from tutor_lib.grading.limits import MIB, Limits
from tutor_lib.grading.sandbox import bwrap, doctor
from tutor_lib.grading.sandbox.guest import Guest, Request, SandboxError
from tutor_lib.grading.sandbox.running import Running
from tutor_lib.grading.sandbox.sandbox import Sandbox


def _start(sandbox: Sandbox) -> None:
    async def start():
        try:
            await sandbox.start_kernel()
        finally:
            await sandbox.close()

    asyncio.run(start())


@pytest.mark.parametrize("warm", [None, True, False])
def test_without_bubblewrap(monkeypatch, tmp_path, warm):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SandboxError, match=r"no program named bwrap.* Install bubblewrap"):
        _start(Sandbox((), warm=warm))


@pytest.fixture
def public():
    """A folder that everybody can enter, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.parametrize("warm", [None, True, False])
def test_where_bubblewrap_fails(monkeypatch, public, warm):
    """As in a container that forbids user namespaces: its own words are passed on."""
    fake = public / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{public}:/usr/bin:/bin")
    with pytest.raises(SandboxError, match="No permissions to create new namespace"):
        _start(Sandbox((), warm=warm))


@pytest.fixture
def without_nesting(cold, public, monkeypatch):
    """As where a security module lets bubblewrap make namespaces, and nobody inside it."""
    fake = public / "bwrap"
    fake.write_text(f'#!/bin/sh\nexec {shutil.which("bwrap")} --disable-userns "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{public}:/usr/bin:/bin")


def test_without_nested_namespaces_a_kernel_starts_cold(without_nesting, start):
    sandbox = Sandbox(())
    assert start(sandbox).run("print(6 * 7)").text == "42\n"
    assert sandbox.warm is False
    assert "unshare" in sandbox.refusal
    sandbox.end()


def test_who_wants_warm_kernels_alone_is_refused(without_nesting):
    with pytest.raises(SandboxError, match=r"cannot work here: .*unshare"):
        _start(Sandbox((), warm=True))


def test_elsewhere_than_linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(SandboxError, match="needs Linux, and this is darwin"):
        _start(Sandbox(()))


def test_a_long_temporary_folder(monkeypatch, tmp_path):
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with pytest.raises(SandboxError, match="set TMPDIR to a shorter path"):
        _start(Sandbox(()))


def test_the_doctor_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    findings = doctor.examine()
    assert [f.good for f in findings] == [False]
    assert findings[0].essential
    assert "NO" in doctor.table(findings)
    assert "Install bubblewrap" in doctor.table(findings)


def test_the_doctor_finds_everything_closed(either):
    findings = doctor.examine()
    assert len(findings) >= 13
    assert all(f.good for f in findings if f.essential), doctor.table(findings)


class Plain(Sandbox):
    """No sandbox at all: Jupyter's own kernel."""

    async def start_kernel(self, guest=None):
        from jupyter_client.manager import AsyncKernelManager

        manager = AsyncKernelManager(kernel_name="python3")
        await manager.start_kernel()
        return manager


@pytest.mark.parametrize("name", ["network", "abstract sockets", "files of the course",
                                  "other processes"])  # fmt: skip
def test_the_doctor_would_see_an_open_door(monkeypatch, name):
    monkeypatch.setattr(doctor, "CLOSED", {name: doctor.CLOSED[name]})
    found = asyncio.run(doctor._closed(Plain()))
    assert (found[0].name, found[0].good) == (name, False)


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/../../x", ".", "a\0b"])
def test_a_files_name_stays_in_the_folder(name):
    with pytest.raises(ValueError, match="relative name"):
        Guest(files={name: b""})


def test_files_must_fit():
    with pytest.raises(ValueError, match="files of 11 bytes, but disk_bytes is 10"):
        Guest(files={"a": b"12345", "b": b"123456"}, limits=Limits(disk_bytes=10))


@pytest.mark.parametrize("environment", [{"": "x"}, {"A=B": "x"}, {"A": "\0"}])
def test_environment_variables_are_ones(environment):
    with pytest.raises(ValueError, match="environment variable"):
        Guest(environment=environment)


def test_a_request_arrives_as_it_was_sent():
    sent = Request(
        "ab", {"ip": "x", "key": "k"}, Limits(memory_bytes=MIB), {"A": "ö"},
        {"a": b"\n{}", "b": b"", "c/d": bytes(range(256))},
    )  # fmt: skip
    stream = io.BytesIO()
    sent.write(stream)
    stream.seek(0)
    assert Request.read(stream) == sent
    with pytest.raises(EOFError):
        Request.read(stream)


def test_a_lost_supervisor_is_an_end():
    ours, theirs = socket.socketpair()
    running = Running(ours, Limits())
    assert running.poll() is None
    theirs.close()
    assert running.poll() == -9
    assert running.ending.code == "died"
    running.close()
    assert running.used() == (0.0, 0)


def test_the_interpreters_folder_alone_is_seen():
    """No home, no course: what is bound is the system's, the interpreter's or the library's."""
    allowed = (*bwrap.SYSTEM, sys.prefix, sys.base_prefix, str(bwrap.PACKAGE))
    assert all(path.startswith(allowed) for path in bwrap.binds())
    assert str(bwrap.PACKAGE.parent) not in bwrap.binds()
