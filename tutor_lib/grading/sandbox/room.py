"""A kernel's own namespaces, made inside the template's.

Two steps in two processes. The supervisor steps into a new user namespace, so that it may watch
what happens there, and stays outside the new process namespace. Process 1 of that one furnishes
the rest. All raise OSError where the machine does not let namespaces be nested.
"""

import fcntl
import os
import socket
import struct

from tutor_lib.grading.sandbox import linux
from tutor_lib.grading.sandbox.bwrap import OWN, SHARED, USER, binds

_PLAIN = linux.NOSUID | linux.NODEV


def enter() -> None:
    """For the supervisor: new namespaces, for its children to be the processes of."""
    linux.unshare(linux.NEWUSER | linux.NEWNET | linux.NEWIPC | linux.NEWUTS)
    _be_user()


def _be_user() -> None:
    _write("/proc/self/setgroups", "deny")
    for name in ("uid_map", "gid_map"):
        _write(f"/proc/self/{name}", f"{USER} {USER} 1")


def fork_init() -> int:
    """For the supervisor: fork process 1, in which 0 is returned, and which dies with it.

    From then on the supervisor's main thread can start neither threads nor processes.
    """
    linux.unshare(linux.NEWPID)
    if init := os.fork():
        return init
    linux.die_with_parent()
    return 0


def furnish(folder: str, disk_bytes: int) -> None:
    """For process 1: its own files, with no other kernel's sockets in sight."""
    linux.unshare(linux.NEWNS)
    linux.mount("none", "/", "", linux.RECURSIVE | linux.PRIVATE)
    linux.mount(f"{SHARED}/{folder}", OWN, "", linux.BIND)
    _own_temporary(disk_bytes)
    # Terminals are shared by all who see the same devpts.
    linux.mount("devpts", "/dev/pts", "devpts", linux.NOSUID | linux.NOEXEC,
                "newinstance,ptmxmode=0666,mode=620")  # fmt: skip
    linux.mount("proc", "/proc", "proc", _PLAIN | linux.NOEXEC)
    _write("/proc/sys/user/max_user_namespaces", "0")
    _raise_loopback()


def keep_apart(disk_bytes: int) -> None:
    """For a judge: its own files, in the process namespace of the template."""
    linux.unshare(linux.NEWUSER | linux.NEWNS | linux.NEWIPC)
    _be_user()
    linux.mount("none", "/", "", linux.RECURSIVE | linux.PRIVATE)
    _own_temporary(disk_bytes)


def _own_temporary(disk_bytes: int) -> None:
    """An empty /tmp and /dev/shm, and no kernel's sockets."""
    libraries = [path for path in binds() if path.startswith("/tmp/")]
    linux.mount("/tmp", SHARED, "", linux.BIND | linux.RECURSIVE)
    for place in ("/tmp", "/dev/shm"):
        linux.mount("tmpfs", place, "tmpfs", _PLAIN, f"size={disk_bytes},mode=0755")
    for path in libraries:  # of a Python or a course that lies there
        _bring_back(path, SHARED + path.removeprefix("/tmp"))
    linux.mount("tmpfs", SHARED, "tmpfs", _PLAIN | linux.RDONLY)


def _bring_back(path: str, kept: str) -> None:
    """Let a path be seen again that is covered now, read-only as it was."""
    folder = os.path.isdir(kept)
    os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
    if not folder:
        _write(path, "", os.O_CREAT)
    linux.mount(kept, path, "", linux.BIND | linux.RECURSIVE)


def _raise_loopback() -> None:
    """A network of one's own, as bubblewrap makes it too."""
    up, get, put = 1, 0x8913, 0x8914  # IFF_UP, SIOCGIFFLAGS, SIOCSIFFLAGS
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as link:
        asked = fcntl.ioctl(link, get, struct.pack("16sH14x", b"lo", 0))
        flags = struct.unpack("16sH14x", asked)[1] | up
        fcntl.ioctl(link, put, struct.pack("16sH14x", b"lo", flags))


def _write(path: str, text: str, flags: int = 0) -> None:
    descriptor = os.open(path, os.O_WRONLY | flags)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
