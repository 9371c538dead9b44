"""Look into a folder that a stranger filled: follow no link, open nothing special, never wait.

Every path is walked from an open folder, one name at a time, so that nothing can be swapped for
a link between looking and opening. A hard link is a file like others: Linux lets nobody make one
to a file that they could not read themselves (`fs.protected_hardlinks`).
"""

import contextlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DEPTH = 8  # folders within folders
ENTRIES = 2_000  # names that are looked at

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Should a file turn into a FIFO or a terminal at the last moment, opening it still does not wait.
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Refused(Exception):
    """What is not read. `code` is the note's."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class File(NamedTuple):
    """A file's bytes, and when it was last written, in POSIX seconds."""

    data: bytes
    written: float


class Listing(NamedTuple):
    """The regular files in a folder, by their relative names, sorted; and what else is there.

    A crowded folder has too many names to list, and then none are.
    """

    files: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    crowded: bool = False


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[int]:
    """The folder's file descriptor. Raises Refused if it is a link or no folder.

    The folder above it may be no link either: that one is the student's, too.
    """
    with (
        _held(_open(folder.parent, None, missing="no-notebook")) as above,
        _held(_open(folder.name, above, missing="no-notebook")) as descriptor,
    ):
        yield descriptor


def _open(name: str | Path, here: int | None, missing: str = "refused-file") -> int:
    """A folder's file descriptor. Raises Refused, with the code `missing` if there is none."""
    try:
        return os.open(name, FOLDER_FLAGS, dir_fd=here)
    except FileNotFoundError as error:
        raise Refused(missing) from error
    except OSError as error:
        raise Refused("refused-file") from error


@contextlib.contextmanager
def _held(descriptor: int) -> Iterator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def listing(root: int) -> Listing:
    """What is in an open folder and the folders inside. Links are not followed."""
    files, refused = [], []
    for seen, (name, kind) in enumerate(_walk(root, "", DEPTH)):
        if seen == ENTRIES:
            return Listing(crowded=True)
        if kind == "file":
            files.append(name)
        elif kind == "other":
            refused.append(name)
    return Listing(tuple(sorted(files)), tuple(sorted(refused)))


def _walk(here: int, prefix: str, depth: int) -> Iterator[tuple[str, str]]:
    with os.scandir(here) as entries:
        for entry in entries:
            name, kind = prefix + entry.name, _kind(entry)
            if kind != "folder":
                yield name, kind
                continue
            try:
                if not depth:
                    raise Refused("refused-file")
                with _held(_open(entry.name, here)) as folder:
                    yield from _walk(folder, f"{name}/", depth - 1)
            except Refused:
                yield name, "other"


def _kind(entry: os.DirEntry[str]) -> str:
    if is_litter(entry.name):
        return "litter"
    if not is_plain(entry.name):
        return "other"
    try:
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "file" if entry.is_file(follow_symlinks=False) else "other"
    except OSError:
        return "other"


def is_litter(name: str) -> bool:
    """Whether programs leave files of this name behind, which nobody hands in on purpose."""
    return name.startswith(".") or name in ("__pycache__", "__MACOSX")


def is_plain(name: str) -> bool:
    """Whether a name can be written in a gradebook: UTF-8, no control characters, no `\\`."""
    return "\\" not in name and not any(unicodedata.category(c) in ("Cc", "Cs") for c in name)


def is_regular(here: int, name: str) -> bool:
    """Whether `name` in an open folder is a regular file, itself and not by a link."""
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=here, follow_symlinks=False).st_mode)
    except OSError:
        return False


def read(root: int, name: str, most: int) -> File:
    """The file of this relative name in an open folder, if it has at most so many bytes.

    Raises Refused if it has more, is no regular file, or cannot be opened.
    """
    *folders, last = name.split("/")
    with contextlib.ExitStack() as stack:
        here = root
        for folder in folders:
            here = stack.enter_context(_held(_open(folder, here)))
        return _read(here, last, most)


def _read(here: int, name: str, most: int) -> File:
    try:
        with open(open_regular(here, name), "rb") as file:
            about = os.fstat(file.fileno())
            # It may grow while it is read, so what arrives is counted too.
            data = b"" if about.st_size > most else file.read(most + 1)
    except OSError as error:
        raise Refused("refused-file") from error
    if max(about.st_size, len(data)) > most:
        raise Refused("too-large")
    return File(data, about.st_mtime)


def open_regular(here: int, name: str) -> int:
    """A file descriptor of a regular file in an open folder.

    Raises Refused if it is a link or special, and OSError if it cannot be opened.
    """
    # Looked at first: opening a device can have effects of its own.
    if not is_regular(here, name):
        raise Refused("refused-file")
    descriptor = os.open(name, FILE_FLAGS, dir_fd=here)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise Refused("refused-file")
