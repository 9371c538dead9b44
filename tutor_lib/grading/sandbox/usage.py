"""What a kernel's processes use, read from the /proc of their own namespace."""

import contextlib
import os
from collections.abc import Iterator

_TICKS = os.sysconf("SC_CLK_TCK")
INODE_BYTES = 1024  # about what an empty file costs

# Files in memory that have no name, and so no quota, are on a device of their own.
_probe = os.memfd_create("probe")
_NAMELESS = os.fstat(_probe).st_dev
os.close(_probe)


class Hidden(Exception):
    """A process has closed itself to inspection, so what it uses cannot be known."""


class Meter:
    """Reads what all processes below `init` use together, while `init` lives.

    Memory that is still shared with the template is not counted, and memory that the kernel's
    processes share with each other is counted once.
    """

    def __init__(self, init: int) -> None:
        self._root = f"/proc/{init}/root"

    def processes(self) -> list[str]:
        """Their numbers. Raises OSError once they are gone."""
        return [n for n in os.listdir(f"{self._root}/proc") if n.isdigit() and n != "1"]

    def bound(self, numbers: list[str]) -> int:
        """No less memory than they have: what they share is counted for each.

        Quick, and never waits. Raises Hidden.
        """
        return sum(map(self._resident, numbers)) + self._nameless(numbers)

    def memory(self, numbers: list[str]) -> int:
        """The memory that they have. Raises Hidden.

        Walks every page, and waits while a process changes its map of them: call it where that
        may take long.
        """
        # Process 1 is a copy of the template that changes next to nothing: what it still shares,
        # each process of the kernel shares too, in equal parts.
        lent = self._share("1")
        own = sum(max(0, self._share(number) - lent) for number in numbers)
        return own + self._nameless(numbers)

    def cpu(self, numbers: list[str]) -> float:
        """Seconds of the living, and of the dead whom a parent has waited for."""
        own = sum(sum(self._times(number)) for number in numbers)
        return (own + sum(self._times("1")[2:])) / _TICKS

    def disk(self) -> int:
        """What is in the temporary folders. Raises OSError once they are gone."""
        return sum(map(self._filled, ("/tmp", "/dev/shm")))

    def _lines(self, number: str, name: str) -> dict[str, int]:
        """The numbers in a file of `key: number …` lines; none for a process that has gone."""
        try:
            with open(f"{self._root}/proc/{number}/{name}", "rb") as file:
                words = [line.split() for line in file]
        except PermissionError:
            return self._closed(number)
        except (FileNotFoundError, ProcessLookupError):
            return {}
        return {w[0].decode(): int(w[1]) for w in words if len(w) > 1 and w[1].isdigit()}

    def _closed(self, number: str) -> dict[str, int]:
        """A process that may not be looked into has nothing left, or hides. Raises Hidden."""
        if "VmSize:" in self._lines(number, "status"):
            raise Hidden(number)
        return {}  # a process that has ended, and that its parent has not waited for

    def _resident(self, number: str) -> int:
        about = self._lines(number, "status")
        return 1024 * (about.get("RssAnon:", 0) + about.get("RssShmem:", 0))

    def _share(self, number: str) -> int:
        about = self._lines(number, "smaps_rollup")
        return 1024 * (about.get("Pss_Anon:", 0) + about.get("Pss_Shmem:", 0))

    def _nameless(self, numbers: list[str]) -> int:
        sizes = {node: size for number in numbers for node, size in self._open_nameless(number)}
        return sum(sizes.values())

    def _open_nameless(self, number: str) -> Iterator[tuple[int, int]]:
        folder = f"{self._root}/proc/{number}/fd"
        try:
            descriptors = os.listdir(folder)
        except PermissionError:
            self._closed(number)
            return
        except (FileNotFoundError, ProcessLookupError):
            return
        for descriptor in descriptors:
            with contextlib.suppress(OSError):  # closed meanwhile
                about = os.stat(f"{folder}/{descriptor}")
                if about.st_dev == _NAMELESS:
                    yield about.st_ino, about.st_blocks * 512

    def _times(self, number: str) -> list[int]:
        try:
            with open(f"{self._root}/proc/{number}/stat", "rb") as file:
                # The name comes in parentheses, and may hold any character.
                fields = file.read().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return [0, 0, 0, 0]
        return [int(ticks) for ticks in fields[11:15]]

    def _filled(self, place: str) -> int:
        about = os.statvfs(self._root + place)
        blocks = (about.f_blocks - about.f_bfree) * about.f_frsize
        return blocks + (about.f_files - about.f_ffree) * INODE_BYTES
