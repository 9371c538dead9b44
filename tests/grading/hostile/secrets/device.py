"""Hands in a device that never ends for a notebook, or a FIFO where it may make no device."""

import os
import stat

CODES = {"refused-file", "no-notebook"}


def hand_in(folder):
    path = folder / "probe.ipynb"
    path.unlink()
    try:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))
    except PermissionError:
        os.mkfifo(path)
