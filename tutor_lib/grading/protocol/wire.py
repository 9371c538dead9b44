"""Frames: a fixed header, a JSON text, raw buffers. Never pickle.

The text is `[kind, number, sizes of the buffers, body]`; the body is a value (see `values`).
"""

import json
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

from tutor_lib.grading.protocol.values import (
    MAX_FRAME,
    MAX_ITEMS,
    MIB,
    Buffer,
    Reader,
    Refer,
    WireError,
    Writer,
)

MAX_TEXT = 24 * MIB
HEADER = struct.Struct("<4sIQ")  # mark, bytes of JSON, bytes of buffers
MARK = b"TL1\n"


class Frame(NamedTuple):
    """A frame whose body is not decoded yet."""

    kind: str
    number: int
    sizes: list[int]
    body: Any
    blob: Buffer


def pack(kind: str, number: int, body: Any, refer: Refer) -> list[Buffer]:
    """The parts of a frame, to be sent one after the other.

    Raises WireError if a limit would be broken, and what `refer` raises.
    """
    writer = Writer(refer)
    node = writer.put(body, 0)
    sizes = [len(buffer) for buffer in writer.buffers]
    text = json.dumps([kind, number, sizes, node], ensure_ascii=False, separators=(",", ":"))
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_TEXT:
        raise WireError(f"{len(raw):,} bytes of JSON; at most {MAX_TEXT:,} are carried")
    return [HEADER.pack(MARK, len(raw), sum(sizes)), raw, *writer.buffers]


def lengths(header: Buffer) -> tuple[int, int]:
    """How many bytes of JSON and of buffers follow. Raises WireError if it is no header."""
    mark, text, buffers = HEADER.unpack(header)
    if mark != MARK:
        raise WireError("what came is no frame: its first bytes are wrong")
    if text > MAX_TEXT or buffers > MAX_FRAME:
        raise WireError(f"a frame of {text + buffers:,} bytes; at most {MAX_FRAME:,} are carried")
    return text, buffers


def opened(raw: bytes | bytearray, blob: Buffer) -> Frame:
    """The frame of a JSON text and its buffers. Raises WireError if it is malformed."""
    if raw.count(b"[") + raw.count(b"{") > MAX_ITEMS:  # three bytes would become a list of 80
        raise WireError(f"more than {MAX_ITEMS:,} things at once")
    try:
        kind, number, sizes, body = json.loads(raw.decode("utf-8", "surrogatepass"))
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise WireError(f"a frame that cannot be read: {str(error)[:200]}") from None
    if type(kind) is not str or type(number) is not int or type(sizes) is not list:
        raise WireError("a frame whose first fields are of the wrong type")
    if not all(type(size) is int and size >= 0 for size in sizes) or sum(sizes) != len(blob):
        raise WireError("a frame whose buffers are not as long as it says")
    return Frame(kind, number, sizes, body, blob)


def unpack(frame: Frame, find: Callable[[list[Any]], Any]) -> Any:
    """The body of a frame; `find` gives what a reference stands for.

    Raises WireError if it is malformed.
    """
    try:
        return Reader(frame.sizes, frame.blob, find).get(frame.body, 0)
    except WireError:
        raise
    except Exception as error:  # torch and numpy refuse wrong fields with errors of many types
        told = f"{type(error).__name__}: {str(error)[:200]}"
        raise WireError(f"a value that cannot be read: {told}") from error
