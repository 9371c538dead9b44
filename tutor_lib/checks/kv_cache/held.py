"""Look into a student's cache: what it returns, how long it says it is, how much it holds."""

from collections.abc import Iterable, Iterator
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
            f"returned {_told(told)}."
        )
    for part, name in zip(told, ("keys", "values"), strict=True):
        if not isinstance(part, Tensor):
            raise Complaint(f"update should return tensors; your {name} are {_told(part)}.")
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
    return int(count)


def numbers(cache: Any) -> int:
    """How many numbers the tensors hold that hang on the cache's attributes."""
    return sum(t.numel() for t in _tensors([getattr(cache, "__dict__", {})]))


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, dict):
            yield from _tensors(value.values())
        elif isinstance(value, list | tuple | set):
            yield from _tensors(value)


def _told(x: Any) -> str:
    if x is None:
        return "None: is there a return line"
    return f"{len(x)} things" if isinstance(x, tuple | list) else f"one {type(x).__name__}"
