"""Unpack an archive from a stranger, all of it or nothing, and never outside the target.

Sizes are counted as bytes arrive, for what an archive says of itself may be a lie.
"""

import gzip
import io
import os
import shutil
import stat
import tarfile
import tempfile
import unicodedata
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, NamedTuple, cast

from tutor_lib.grading.intake.folder import Refused, is_litter, is_plain, open_regular, opened
from tutor_lib.grading.limits import MIB

MEMBERS = 10_000
DEPTH = 16
NAME_BYTES = 255
# A class's archive is large itself; text seldom packs to less than a twentieth.
BYTES, RATIO, MOST_BYTES = 64 * MIB, 20, 4096 * MIB
CHUNK = 1 << 16

# LZMA is left out: its header alone can ask for gigabytes of memory.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
ENCRYPTED = 0x1
TOO_MUCH = "it unpacks to far more than its own size"


class BadArchive(Exception):
    """The archive is not unpacked; the message says why."""


class Member(NamedTuple):
    """What an archive holds: a file's name and where to read it. A folder has no content."""

    name: str
    content: IO[bytes] | None


def unpack(archive: Path, target: Path) -> None:
    """Unpack a zip or tar archive (also gzipped) to a folder that does not exist yet.

    Raises BadArchive, and leaves nothing behind, if it is broken, encrypted, too large, or holds
    anything but files and folders with plain relative names that do not meet; Refused if it is
    no regular file.
    """
    if target.exists():
        raise BadArchive(f"{target.name} is there already")
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    try:
        with opened(archive.parent.resolve()) as folder:
            with open(open_regular(folder, archive.name), "rb") as file:
                _write_all(file, part)
        part.chmod(0o755)
        part.rename(target)
    except (BadArchive, Refused):
        raise
    except Exception as error:  # zipfile and tarfile raise anything, IndexError too
        raise BadArchive(f"it is broken: {error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_all(file: BinaryIO, part: Path) -> None:
    left = min(MOST_BYTES, max(BYTES, RATIO * os.fstat(file.fileno()).st_size))
    members = _zipped(file) if zipfile.is_zipfile(file) else _tarred(file, left)
    seen: dict[str, str] = {}
    for count, member in enumerate(members):
        if count == MEMBERS:
            raise BadArchive(f"it holds more than {MEMBERS:,} files")
        parts = parts_of(member.name)
        if any(map(is_litter, parts)):
            continue
        _meet(parts, seen, member.content is None)
        left -= _write(member, part.joinpath(*parts), left)


def _write(member: Member, path: Path, most: int) -> int:
    """Write a file, or make a folder, and return how many bytes it took."""
    if member.content is None:
        path.mkdir(parents=True, exist_ok=True)
        return 0
    path.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with open(path, "xb") as file:
        while chunk := member.content.read(CHUNK):
            size += len(chunk)
            if size > most:
                raise BadArchive(TOO_MUCH)
            file.write(chunk)
    return size


def parts_of(name: str) -> tuple[str, ...]:
    """The folders and the file that a name leads through. Raises BadArchive if it is not plain."""
    parts = tuple(part for part in name.rstrip("/").split("/") if part != ".")
    drive = bool(parts) and parts[0][1:2] == ":"
    if drive or not all(part not in ("", "..") and is_plain(part) for part in parts):
        raise BadArchive(f"the name {name[:200]!r} is not plain and relative")
    if len(parts) > DEPTH or any(len(part.encode()) > NAME_BYTES for part in parts):
        raise BadArchive(f"the name {name[:200]!r} is too long or too deep")
    return parts


def _meet(parts: tuple[str, ...], seen: dict[str, str], folder: bool) -> None:
    """Raise BadArchive if another system takes the name, or one on its way, for an earlier one."""
    for length in range(1, len(parts) + 1):
        path = "/".join(parts[:length])
        is_new = _key(path) not in seen
        repeated = length == len(parts) and not folder and not is_new
        if seen.setdefault(_key(path), path) != path or repeated:
            raise BadArchive(f"two files have the name {path[:200]!r}, but perhaps for its case")


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _zipped(file: BinaryIO) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            _check(info)
            if info.is_dir():
                yield Member(info.filename, None)
            else:
                with archive.open(info) as content:
                    yield Member(info.filename, content)


def _check(info: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadArchive(f"{info.filename[:200]!r} is a link or a special file")
    if info.flag_bits & ENCRYPTED:
        raise BadArchive("it is encrypted")
    if info.compress_type not in METHODS:
        raise BadArchive("it is packed in a way that is not read; make it anew as a plain zip")


class _Metered(io.RawIOBase):
    """A stream that fails when more bytes come than are allowed.

    tarfile reads some headers into memory whole, however large they say they are.
    """

    def __init__(self, stream: BinaryIO | gzip.GzipFile, most: int) -> None:
        self.stream, self.left = stream, most

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise BadArchive(TOO_MUCH)
        return data


def _tarred(file: BinaryIO, most: int) -> Iterator[Member]:
    file.seek(0)
    gzipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    # Headers and padding come on top of what the files may have.
    metered = _Metered(gzip.GzipFile(fileobj=file) if gzipped else file, most + 1024 * MEMBERS)
    # As a stream, which cannot be sent backwards: a member of negative size would go round for
    # ever (CVE-2025-8194).
    with tarfile.open(fileobj=cast(BinaryIO, metered), mode="r|") as archive:
        for info in archive:
            if not (info.isdir() or info.isreg()) or info.issparse():
                raise BadArchive(f"{info.name[:200]!r} is a link or a special file")
            yield Member(info.name, None if info.isdir() else archive.extractfile(info))
