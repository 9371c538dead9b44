"""Look into a student's cache: what it returns, how long it says it is, how much it holds."""

from collections import deque
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor

from tutor_lib.checks.run import Complaint


def updated(cache: Any, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Copies of what `update` returns. Raises Complaint if that is not two tensors.

    Copies, because a cache may well return a view of its room and go on writing there; and k and
    v are spoiled afterwards, because their owner may do so too.
    """
    k, v = k.clone(), v.clone()
    told = cache.update(k, v)
    if not (isinstance(told, tuple | list) and len(told) == 2):
        raise Complaint(
            "update should return two tensors, the keys and the values to attend to; yours "
            f"returned {_told(told)}"
        )
    for part, name in zip(told, ("keys", "values"), strict=True):
        if not isinstance(part, Tensor):
            raise Complaint(f"update should return tensors; your {name} are {_told(part)}")
    keys, values = told[0].clone(), told[1].clone()
    k.fill_(99)
    v.fill_(99)
    return keys, values


def length(cache: Any) -> int:
    """The cache's own count. Raises Complaint if it has none."""
    count = getattr(cache, "length", None)
    if callable(count) or count is None:
        kind = "a method" if callable(count) else "missing"
        raise Complaint(f"Your cache's length is {kind}. Keep a number in self.length.")
    try:
        return int(count)
    except (TypeError, ValueError):
        raise Complaint(
            f"Your cache's length is a {type(count).__name__}. Keep a number in self.length."
        ) from None


def numbers(cache: Any) -> int:
    """How many numbers the tensors hold that hang on the cache, views of one room counted once."""
    found: dict[int, int] = {}
    for tensor in _tensors(cache, set()):
        room = tensor.untyped_storage().data_ptr()
        found[room] = max(found.get(room, 0), tensor.numel())
    return sum(found.values())


def _tensors(value: Any, seen: set[int]) -> Iterator[Tensor]:
    """All tensors in `value`, through containers and the attributes of objects."""
    if id(value) in seen or isinstance(value, type | ModuleType):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
        return
    parts: list[Any] = [*getattr(value, "__dict__", {}).values()]
    for kind in type(value).__mro__:
        names = vars(kind).get("__slots__", ())
        names = [names] if isinstance(names, str) else names
        parts += [getattr(value, name) for name in names if hasattr(value, name)]
    if isinstance(value, Mapping):
        parts += value.values()
    elif isinstance(value, list | tuple | set | deque):
        parts += value
    for part in parts:
        yield from _tensors(part, seen)


def _told(x: Any) -> str:
    if x is None:
        return "None. Is there a `return` line?"
    return f"{len(x)} things." if isinstance(x, tuple | list) else f"one {type(x).__name__}."
