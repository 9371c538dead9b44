"""What can be seen inside: the interpreter, its packages, the system's libraries, no more."""

import os
import site
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tutor_lib.grading.limits import MIB

USER = 65534  # "nobody" outside where the owner is root, and whoever runs the kernels inside
SHARED = "/run/kernels"  # the template's: a folder with sockets for each kernel
OWN = "/run/kernel"  # a kernel's own one of these

JUDGE_BYTES = 256 * MIB  # of files that a cold judge may write

PACKAGE = Path(__file__).resolve().parents[2]  # tutor_lib
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/nix/store",
          "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
          "/etc/fonts", "/etc/localtime", "/etc/mime.types")  # fmt: skip
# The parts of a Python's folder that it runs on. A virtual environment may have been made in
# the course's own folder, which must stay outside.
PARTS = ("bin", "lib", "lib64", "pyvenv.cfg")

# Enough for programs that ask who they are.
FILES = {
    "/etc/passwd": f"student:x:{USER}:{USER}::/tmp/work:/bin/sh\n",
    "/etc/group": f"student:x:{USER}:\n",
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}


def _libraries() -> list[Path]:
    """Where packages lie besides the interpreter's folders: what PYTHONPATH has inside."""
    theirs = Path(site.getusersitepackages())
    used = site.ENABLE_USER_SITE and os.path.isdir(theirs)
    # In site-packages, tutor_lib is found anyway; and that folder must not come first.
    ours = [] if PACKAGE.parent.name in {"site-packages", "dist-packages"} else [PACKAGE.parent]
    return [*ours, theirs] if used else ours


def environment() -> dict[str, str]:
    """All the environment variables inside, but for those a guest brings."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "HOME": "/tmp/work",
        "TMPDIR": "/tmp",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": "/tmp/.matplotlib",
        "IPYTHONDIR": "/tmp/.ipython",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # or the debugger in IPython warns of frozen modules
        "PYTHONHASHSEED": "0",
        "PYTHONSAFEPATH": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(map(str, _libraries())),
    }


def binds() -> list[str]:
    """The paths that are seen inside, read-only, where they are outside."""
    seen = dict.fromkeys([*SYSTEM, *_interpreter(), str(PACKAGE)])
    seen.update(dict.fromkeys(str(path) for path in _libraries() if path != PACKAGE.parent))
    return [path for path in seen if os.path.exists(path)]


def _interpreter() -> Iterator[str]:
    for prefix in dict.fromkeys([sys.base_prefix, sys.base_exec_prefix, sys.prefix]):
        if prefix != "/usr":
            yield from (os.path.join(prefix, part) for part in PARTS)


def namespaces() -> list[str]:
    """Nothing shared with the outside, no rights, and an end when the parent ends."""
    return ["--unshare-all", "--unshare-user", "--uid", str(USER), "--gid", str(USER),
            "--hostname", "sandbox", "--new-session", "--die-with-parent",
            "--cap-drop", "ALL", "--clearenv"]  # fmt: skip


def temporary(disk_bytes: int) -> list[str]:
    """Fresh /proc, /dev, /tmp and /dev/shm."""
    size = ["--size", str(disk_bytes)]
    return ["--proc", "/proc", "--dev", "/dev",
            *size, "--tmpfs", "/dev/shm", *size, "--tmpfs", "/tmp"]  # fmt: skip


def around_template(sources: Sequence[tuple[str, str]], shared: str) -> list[str]:
    """The arguments for a template, which makes the kernels' own namespaces itself.

    `sources` are pairs: where a path is now, and where it is seen.
    """
    return [*namespaces(), *temporary(16 * MIB), *_read_only(sources),
            "--dir", OWN, "--bind", shared, SHARED, *_closing()]  # fmt: skip


def around_kernel(sources: Sequence[tuple[str, str]], folder: str, disk_bytes: int) -> list[str]:
    """The arguments for one cold kernel."""
    return [*namespaces(), "--as-pid-1", "--disable-userns", *temporary(disk_bytes),
            *_read_only(sources), "--bind", folder, OWN, *_closing()]  # fmt: skip


def around_judge(sources: Sequence[tuple[str, str]]) -> list[str]:
    """The arguments for one cold judge."""
    return [*namespaces(), "--disable-userns", *temporary(JUDGE_BYTES),
            *_read_only(sources), *_closing()]  # fmt: skip


def _read_only(sources: Sequence[tuple[str, str]]) -> list[str]:
    return [word for source, seen in sources for word in ("--ro-bind", source, seen)]


def _closing() -> list[str]:
    """Bubblewrap's own / and /dev are writable, and have no quota, until they are closed."""
    told = [word for pair in environment().items() for word in ("--setenv", *pair)]
    return [*told, "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]
