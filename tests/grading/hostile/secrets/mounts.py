"""Mounts, remounts, enters other namespaces, and becomes root."""

FIRST = """
import ctypes, os, subprocess

libc = ctypes.CDLL(None, use_errno=True)
print("found" if libc.mount(b"none", b"/", None, 32 | 4096, None) == 0 else "no remount")
print("found" if libc.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None) == 0 else "no mount")
for flag in (0x00020000, 0x40000000, 0x20000000):
    print("found" if libc.unshare(flag) == 0 else "no unshare")
for name in ("mnt", "pid", "net", "user"):
    try:
        if libc.setns(os.open(f"/proc/1/ns/{name}", os.O_RDONLY), 0) == 0:
            print("found", name)
    except OSError as error:
        print(error)
for change in (lambda: os.setuid(0), lambda: os.setgroups([0]), lambda: os.chroot("/"),
               lambda: os.mknod("/tmp/sda", 0o60600, os.makedev(8, 0))):
    try:
        change()
        print("found")
    except OSError as error:
        print(error)
"""
UNSAID = ("found",)
