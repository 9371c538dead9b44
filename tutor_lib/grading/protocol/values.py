"""Values as JSON with buffers beside it.

What is data is decided by its exact type, since a subclass of int or list could lie. Everything
else is a reference: `refer` and `find` turn it into a list that begins with a tag, and back.
"""

import collections
import itertools
from collections.abc import Callable
from typing import Any

from tutor_lib.grading.protocol import arrays, failures

MIB = 1 << 20
MAX_FRAME = 256 * MIB
MAX_DEPTH, MAX_ITEMS, MAX_BITS = 100, 1_000_000, 1 << 16
INLINE = 1_000  # longer texts travel beside the JSON

Refer = Callable[[Any], list[Any]]
Find = Callable[[list[Any]], Any]
Buffer = bytes | bytearray | memoryview


class WireError(RuntimeError):
    """What came is no frame, or a limit is broken."""


_SERIES = (list, tuple, set, frozenset, collections.deque)
_MAPPINGS = (dict, collections.Counter, collections.OrderedDict)
_SERIES_TAGS: dict[type, str] = {kind: kind.__name__ for kind in _SERIES}
_MAPPING_TAGS: dict[type, str] = {kind: kind.__name__ for kind in _MAPPINGS}
_MAPPING_TAGS[collections.defaultdict] = "dict"  # its factory stays behind


class Writer:
    """Turns values into JSON, and collects the buffers beside it."""

    def __init__(self, refer: Refer) -> None:
        self.buffers: list[Buffer] = []
        self._refer, self._items, self._room = refer, 0, MAX_FRAME

    def claim(self, size: int) -> None:
        """Raise WireError if so many bytes more would be too many."""
        self._room -= size
        if self._room < 0:
            raise WireError(f"more than {MAX_FRAME:,} bytes at once; send less")

    def beside(self, data: Buffer) -> int:
        """The number of a new buffer; its bytes are claimed already."""
        self.buffers.append(data)
        return len(self.buffers) - 1

    def put(self, value: Any, depth: int) -> Any:
        """What stands for the value in the JSON. Raises WireError if a limit is broken."""
        kind = type(value)
        self._items += 1
        if self._items > MAX_ITEMS:
            raise WireError(f"more than {MAX_ITEMS:,} things at once; send less")
        if value is None or kind is bool or kind is float:
            return value
        if kind is int:
            return value if -(1 << 63) <= value < 1 << 63 else _big(value)
        if kind is str:
            return value if len(value) <= INLINE else self._bytes("str", _encoded(value))
        if depth > MAX_DEPTH:
            raise WireError(f"data nested deeper than {MAX_DEPTH}, or in a circle")
        return self._compound(value, kind, depth + 1)

    def _compound(self, value: Any, kind: type, depth: int) -> list[Any]:
        if kind in _SERIES_TAGS:
            return self._all(_SERIES_TAGS[kind], list(value), depth)
        if kind in _MAPPING_TAGS:
            pairs = itertools.chain.from_iterable(list(value.items()))
            return self._all(_MAPPING_TAGS[kind], pairs, depth)
        if kind is slice or kind is range:
            return self._all(kind.__name__, (value.start, value.stop, value.step), depth)
        if kind is bytes:
            return self._bytes("bytes", value)
        if kind is complex:
            return ["complex", value.real, value.imag]
        if value is Ellipsis:
            return ["ellipsis"]
        if issubclass(kind, BaseException):
            names, message = failures.told(value)
            return ["error", message, *names]
        if _is_plain_tuple(kind):
            return self._all("tuple", tuple.__iter__(value), depth)
        return arrays.put(self, value, kind) or self._refer(value)

    def _all(self, tag: str, parts: Any, depth: int) -> list[Any]:
        return [tag, *[self.put(part, depth) for part in parts]]

    def _bytes(self, tag: str, data: bytes) -> list[Any]:
        self.claim(len(data))
        return [tag, self.beside(data)]


def _big(value: int) -> list[Any]:
    if value.bit_length() > MAX_BITS:
        raise WireError(f"an int of {value.bit_length():,} bits; at most {MAX_BITS:,} are carried")
    return ["int", hex(value)]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


_MADE_BY_CLASS = 1 << 9  # Py_TPFLAGS_HEAPTYPE


def _is_plain_tuple(kind: type) -> bool:
    """A named tuple, or a tuple of C code (torch.Size, torch.return_types.max)."""
    if kind.__base__ is not tuple:
        return False
    made_in_c = not kind.__flags__ & _MADE_BY_CLASS
    return made_in_c or hasattr(kind, "_fields") or hasattr(kind, "n_sequence_fields")


class Reader:
    """Turns JSON back into values. Whatever it is given, it raises and does not crash."""

    def __init__(self, sizes: list[int], blob: Buffer, find: Find) -> None:
        self._ends = list(itertools.accumulate(sizes))
        self._sizes, self._blob, self._find, self._items = sizes, memoryview(blob), find, 0

    def buffer(self, index: Any) -> memoryview:
        """One of the buffers."""
        if type(index) is not int or not 0 <= index < len(self._sizes):
            raise WireError(f"there is no buffer {str(index)[:50]}")
        end = self._ends[index]
        return self._blob[end - self._sizes[index] : end]

    def get(self, node: Any, depth: int) -> Any:
        """The value that a piece of JSON stands for."""
        self._items += 1
        if self._items > MAX_ITEMS or depth > MAX_DEPTH + 1:
            raise WireError(f"more than {MAX_ITEMS:,} things, or nested deeper than {MAX_DEPTH}")
        if type(node) is not list:
            if type(node) is dict:
                raise WireError("an object where a value should be")
            return node
        if not node or type(node[0]) is not str:
            raise WireError("a value without a tag")
        return self._tagged(node[0], node, depth + 1)

    def _tagged(self, tag: str, node: list[Any], depth: int) -> Any:
        if tag in _MAKERS:
            return _MAKERS[tag]([self.get(part, depth) for part in node[1:]])
        if tag in _BUFFERED:
            (index,) = node[1:]
            return _BUFFERED[tag](self.buffer(index))
        if tag in arrays.READERS:
            return arrays.READERS[tag](self, *node[1:])
        return self._find(node)


def _pairs(parts: list[Any]) -> Any:
    return zip(parts[::2], parts[1::2], strict=True)


def _int(parts: list[Any]) -> int:
    (text,) = parts
    if type(text) is not str or len(text) > MAX_BITS // 4 + 3:
        raise WireError("an int that is none")
    return int(text, 16)


def _error(parts: list[Any]) -> Exception:
    message, *names = parts
    return failures.raised(names, message, None)


def _complex(parts: list[Any]) -> complex:
    real, imaginary = parts
    if type(real) is not float or type(imaginary) is not float:
        raise WireError("a complex number whose parts are no floats")
    return complex(real, imaginary)


def _three(parts: list[Any]) -> list[Any]:
    start, stop, step = parts
    return [start, stop, step]


_MAKERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "deque": collections.deque,
    "dict": lambda parts: dict(_pairs(parts)),
    "Counter": lambda parts: collections.Counter(dict(_pairs(parts))),
    "OrderedDict": lambda parts: collections.OrderedDict(_pairs(parts)),
    "slice": lambda parts: slice(*_three(parts)),
    "range": lambda parts: range(*_three(parts)),
    "complex": _complex,
    "ellipsis": lambda parts: Ellipsis,
    "int": _int,
    "error": _error,
}
_BUFFERED: dict[str, Callable[[memoryview], Any]] = {
    "bytes": bytes,
    "str": lambda data: str(data, "utf-8", "surrogatepass"),
}
