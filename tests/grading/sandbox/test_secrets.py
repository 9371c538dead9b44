"""What is outside cannot be read, written, reached or seen; nor can another kernel."""

import ctypes
import os
import re
import socket
import sys
import threading
from pathlib import Path

import pytest

import tutor_lib
from tutor_lib.grading.sandbox import bwrap
from tutor_lib.grading.sandbox.guest import Guest, SandboxError
from tutor_lib.grading.sandbox.sandbox import Sandbox

WORD = "xyzzy-the-hidden-tests"


def test_no_file_of_the_course_is_there(kernel, tmp_path):
    """A gradebook in a temporary folder, this repository's own files, and the home."""
    secret = tmp_path / "gradebook.db"
    secret.write_text(WORD)
    course = Path(__file__).parents[3]
    for path in (secret, course / "solutions", course / "pyproject.toml", Path.home() / ".bashrc"):
        assert kernel.run(f"import os; print(os.path.exists({str(path)!r}))").text == "False\n"


def test_a_search_of_every_file_finds_no_secret(kernel, tmp_path):
    (tmp_path / "gradebook.db").write_text(WORD)
    system = ("/proc", "/usr", "/lib", "/bin", "/sbin", "/lib64")
    said = kernel.run(
        "import os\n"
        "found = []\n"
        "for folder, below, files in os.walk('/'):\n"
        f"    below[:] = [b for b in below if os.path.join(folder, b) not in {system}\n"
        "                and b not in ('site-packages', 'python3.11')]\n"
        "    found += [f for f in files if f.endswith(('.db', '.ipynb', '.bashrc', 'shadow'))]\n"
        "print(found)"
    )
    assert said.text == "[]\n"


def test_the_course_may_be_the_environments_own_folder(monkeypatch, tmp_path):
    """With `python -m venv .`, the course's folder is sys.prefix."""
    for part in ("bin", "lib", "solutions"):
        (tmp_path / part).mkdir()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    seen = bwrap.binds()
    assert str(tmp_path / "bin") in seen
    assert not [p for p in seen if str(tmp_path / "solutions").startswith(p)]


def test_environment_is_ours_alone(either, start, monkeypatch):
    monkeypatch.setenv("TUTOR_TOKEN", WORD)
    kernel = start(either, Guest(environment={"TUTOR_SEED": "ada"}))
    assert WORD not in kernel.run("import os; print(dict(os.environ))").text
    assert kernel.run("print(os.environ['TUTOR_SEED'], 'TUTOR_LINK' in os.environ)").text == (
        "ada False\n"
    )


def test_no_process_is_seen_but_its_own(kernel):
    """The second line: what an ancestor might still have in its memory or environment."""
    said = kernel.run(
        "import os; print(all(n in ('1', str(os.getpid())) for n in os.listdir('/proc')"
        " if n.isdigit()))"
    )
    assert said.text == "True\n"
    for name in ("mem", "environ", "fd/0", "root/tmp", "maps", "cwd/x"):
        error = kernel.run(f"open('/proc/1/{name}')").error
        assert error.startswith("PermissionError"), name


def test_nothing_outside_can_be_written(kernel):
    for path in ("/", "/dev", "/etc", "/usr", "/run", "/run/kernels", "/root",
                 str(Path(tutor_lib.__file__).parent), sys.prefix + "/lib"):  # fmt: skip
        error = kernel.run(f"open({path + '/forged'!r}, 'w')").error
        assert error.startswith(("OSError: [Errno 30]", "PermissionError", "FileNotFoundError"))


def test_temporary_folders_are_empty_and_private(either, start):
    one, other = start(either), start(either)
    one.run(f"open('/tmp/a', 'w').write({WORD!r}); open('/dev/shm/a', 'w').write({WORD!r})")
    listing = "import os; print(sorted({*os.listdir('/tmp')} - {'work'}), os.listdir('/dev/shm'))"
    visible = other.run(listing).text
    assert "'a'" not in visible
    assert other.run("print(os.listdir('/run/kernel'), os.listdir('.'))").text.count("k-") == 5


def test_no_other_kernels_sockets(either, start):
    one, other = start(either), start(either)
    folder = Path(one.manager.ip).parent
    assert other.run("import os; print(os.listdir('/run/kernels'))").text in ("[]\n", "")
    error = other.run(f"os.listdir('/run/kernels/{folder.name}')").error
    assert "FileNotFoundError" in error
    assert "FileNotFoundError" in other.run(f"os.listdir({str(folder)!r})").error


@pytest.fixture
def listener():
    """A server on this machine's own address, that must hear nothing."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        closing = threading.Event()

        def listen():
            while not closing.is_set():
                try:
                    heard.append(server.accept())
                except TimeoutError:
                    pass

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], heard
        closing.set()
        thread.join()


def test_no_network(kernel, listener):
    port, heard = listener
    code = f"import socket; socket.create_connection(('127.0.0.1', {port}), timeout=2)"
    assert "ConnectionRefusedError" in kernel.run(code).error
    assert "gaierror" in kernel.run("socket.getaddrinfo('example.org', 80)").error
    assert "unreachable" in kernel.run("socket.create_connection(('192.0.2.1', 80), 2)").error
    assert not heard


def test_its_own_loopback_works(kernel):
    code = (
        "import socket\n"
        "with socket.create_server(('127.0.0.1', 0)) as s:\n"
        "    socket.create_connection(s.getsockname(), timeout=2).close()\n"
        "print('ok')"
    )
    assert kernel.run(code).text == "ok\n"


def test_no_abstract_sockets(kernel):
    name = f"\0tutor-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect({name!r})"
        assert "ConnectionRefusedError" in kernel.run(code).error


def test_no_new_privileges(kernel):
    """Namespaces, mounts, tracing, and programs that would raise rights."""
    calls = {
        "unshare(0x00020000)": "1",
        "mount(b'none', b'/tmp', b'tmpfs', 0, b'')": "1",
        "mount(b'none', b'/usr', b'', 32 | 4096, b'')": "1",  # remount, writable
        "umount2(b'/proc', 2)": "1",
        "umount2(b'/tmp', 2)": "1",
        "ptrace(16, 1, 0, 0)": "1",
        "setuid(0)": "22",
        "sethostname(b'x', 1)": "1",
    }
    kernel.run("import ctypes; libc = ctypes.CDLL(None, use_errno=True)")
    for call, errno in calls.items():
        said = kernel.run(f"print(libc.{call}, ctypes.get_errno())")
        assert said.text == f"-1 {errno}\n", call
    # A process with threads may never have one; in a single-threaded child, none are left.
    child = (
        "import os\n"
        "if os.fork() == 0: os._exit(libc.unshare(0x10000000) and ctypes.get_errno())\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]))"
    )
    assert kernel.run(child).text == "28\n"
    status = kernel.run("print(open('/proc/self/status').read())").text
    assert "CapPrm:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the number of a system call")
def test_no_key_of_the_owners_session(start):
    """Kerberos tickets, say: keyrings are in no namespace."""
    libc, session = ctypes.CDLL(None, use_errno=True), -3
    libc.syscall(250, 1, None)  # a keyring of this process's own, for the test
    assert libc.syscall(248, b"user", b"ticket", b"secret", 6, session) > 0
    sandbox = Sandbox(())
    try:
        kernel = start(sandbox)
    except SandboxError as error:
        pytest.skip(f"no sandbox on this machine: {error}")
    code = (
        "import ctypes; libc = ctypes.CDLL(None)\n"
        "print(libc.syscall(250, 10, -3, b'user', b'ticket', 0))"  # search
    )
    assert kernel.run(code).text == "-1\n"
    kernel.manager.provisioner._running.stop()
    kernel.ending()
    sandbox.end()


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of system calls")
def test_calls_that_get_round_the_limits_are_refused(kernel):
    """Numbers from Linux's own table; 32-bit programs have other numbers, and are refused all."""
    kernel.run("import ctypes; libc = ctypes.CDLL(None, use_errno=True)")
    for number in (29, 64, 68, 240, 248, 249, 250, 298, 321, 323, 425, 0x40000000 + 39):
        said = kernel.run(f"print(libc.syscall({number}, 0, 0, 0, 0), ctypes.get_errno())")
        assert said.text == "-1 1\n", number
    assert kernel.run("import os; print(libc.syscall(39) == os.getpid())").text == "True\n"


def test_limits_cannot_be_raised(kernel):
    code = "import resource as r; r.setrlimit(r.RLIMIT_NPROC, (9999, 9999))"
    assert "ValueError: not allowed" in kernel.run(code).error


def test_no_descriptor_is_left_open(kernel):
    """Sockets of its own, but no pipe or file that leads out: the template's, a log, a secret."""
    code = (
        "import os\n"
        "for fd in sorted(os.listdir('/proc/self/fd'), key=int):\n"
        "    try: print(os.readlink(f'/proc/self/fd/{fd}'))\n"
        "    except OSError: pass"
    )
    kinds = {
        re.sub("/proc/[0-9]+/", "/proc/N/", line).split(":")[0]
        for line in kernel.run(code).text.splitlines()
    }
    assert kinds <= {"/dev/null", "socket", "pipe", "anon_inode", "/proc/N/fd", "/dev/urandom"}


def test_files_beside_the_notebook_replace_no_module(either, start):
    files = {"random.py": b"raise SystemExit", "colorsys.py": b"print('mine')", "own.py": b"X = 7"}
    kernel = start(either, Guest(files=files))
    assert kernel.run("import random, colorsys, own; print(own.X)").text == "7\n"
