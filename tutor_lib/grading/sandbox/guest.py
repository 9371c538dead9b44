"""What a kernel is given, and how it is sent to where the kernel starts."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from tutor_lib.grading.limits import Limits

TEMPLATE, KERNEL, JUDGE = "t", "k", "j"  # what is asked for: each is told in one byte


class SandboxError(RuntimeError):
    """There can be no sandbox, or no kernel in it: the message says why, and what to do."""


@dataclass(frozen=True)
class Guest:
    """What a kernel gets: limits, environment variables, and files in its working folder.

    `link` is a file descriptor that stays open in the kernel; TUTOR_LINK there has its number.

    Raises ValueError for a file whose name leads elsewhere, files that do not fit into the disk
    limit, or an environment variable that cannot be one.
    """

    limits: Limits = field(default_factory=Limits)
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    link: int | None = None

    def __post_init__(self) -> None:
        for name in self.files:
            path = PurePosixPath(name)
            if not path.parts or path.is_absolute() or ".." in path.parts or "\0" in name:
                raise ValueError(f"a guest's file needs a relative name, got {name!r}")
        if (size := sum(map(len, self.files.values()))) > self.limits.disk_bytes:
            raise ValueError(f"files of {size} bytes, but disk_bytes is {self.limits.disk_bytes}")
        for name, value in self.environment.items():
            if not name or "=" in name or "\0" in name + value:
                raise ValueError(f"{name!r} cannot be an environment variable")


@dataclass(frozen=True)
class Request:
    """One kernel asked for: its folder's name, Jupyter's connection, and what it is given."""

    folder: str
    connection: Mapping[str, Any]
    limits: Limits
    environment: Mapping[str, str]
    files: dict[str, bytes]  # emptied in processes that do not need them

    def write(self, stream: BinaryIO) -> None:
        """Send it: a line of JSON, then the files' bytes."""
        about = {
            "folder": self.folder,
            "connection": dict(self.connection),
            "limits": asdict(self.limits),
            "environment": dict(self.environment),
            "files": {name: len(data) for name, data in self.files.items()},
        }
        stream.write(json.dumps(about).encode() + b"\n")
        stream.writelines(self.files.values())
        stream.flush()

    @classmethod
    def read(cls, stream: BinaryIO) -> "Request":
        """Receive what `write` sent. Raises EOFError if the sender has gone."""
        if not (line := stream.readline()):
            raise EOFError("nobody asks")
        about = json.loads(line)
        about["limits"] = Limits(**about["limits"])
        about["files"] = {name: stream.read(size) for name, size in about["files"].items()}
        return cls(**about)
