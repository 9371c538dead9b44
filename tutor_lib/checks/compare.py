"""Compare results: are they equal, and if not, where do they part?"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# Loose enough for sums in another order, for float32 loops and for −1e9 in place of −∞;
# the mistakes change results by a hundred times as much (tests/checks holds them to it).
RTOL, ATOL = 1e-4, 1e-5


def agree(expected: Any, got: Any) -> bool:
    """Is `got` the right answer? A floating-point result may be more precise than expected."""
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        return got.dtype.itemsize >= expected.dtype.itemsize and matches(expected, got)
    if isinstance(expected, tuple):
        return _is_sequence_of(got, len(expected)) and all(map(agree, expected, got))
    return matches(expected, got)


def alike(expected: Any, got: Any) -> bool:
    """Are both of the same type, shape and kind, so that only the values can differ?"""
    if isinstance(expected, Tensor) and isinstance(got, Tensor):
        return _is_plain(got) and kind(expected) == kind(got) and expected.shape == got.shape
    if isinstance(expected, tuple):
        return _is_sequence_of(got, len(expected)) and all(map(alike, expected, got))
    return type(expected) is type(got) and not isinstance(expected, Tensor)


def matches(wrong: Any, got: Any) -> bool:
    """Are both the same result, NaN for NaN, whatever the precision?"""
    if not alike(wrong, got):
        return False
    if isinstance(wrong, tuple):
        return all(map(matches, wrong, got))
    return bool(close(wrong, got).all()) if isinstance(wrong, Tensor) else bool(wrong == got)


def close(expected: Tensor, got: Tensor) -> Tensor:
    """Where two tensors of the same shape are equal within the tolerance."""
    a, b = (t.detach().to("cpu", torch.float64) for t in (expected, got))
    return torch.isclose(a, b, rtol=RTOL, atol=ATOL, equal_nan=True)


def kind(x: Tensor) -> str:
    """Whether a tensor holds truth values, integers, or floating-point or complex numbers."""
    if x.dtype == torch.bool:
        return "bool"
    if x.dtype.is_complex:
        return "complex"
    return "float" if x.dtype.is_floating_point else "int"


def difference(expected: Any, got: Any, parts: Sequence[str] = ()) -> str:
    """Say where `got` first differs from `expected`: type, length, shape, dtype or value."""
    if got is None and expected is not None:
        return "your function returned None. Is there a `return` line, and is it reached?"
    if isinstance(expected, tuple):
        return _tuple_difference(expected, got, parts)
    return _tensor_difference(expected, got, "the result")


def _tuple_difference(expected: tuple[Any, ...], got: Any, parts: Sequence[str]) -> str:
    wanted = f"{len(expected)} things ({', '.join(parts)})"
    if not isinstance(got, tuple | list):
        return f"your function returned one {_type(got)}, but should return {wanted}."
    if len(got) != len(expected):
        return f"your function returned {len(got)} things, but should return {wanted}."
    for part, right, theirs in zip(parts, expected, got, strict=True):
        if not agree(right, theirs):
            return _tensor_difference(right, theirs, part)
    return "no difference found."


def _tensor_difference(expected: Tensor, got: Any, name: str) -> str:
    if not _is_plain(got):
        return f"{name} is of type {_type(got)}, but should be a torch.Tensor."
    if got.shape != expected.shape:
        return f"{name} has shape {tuple(got.shape)}, but should have {tuple(expected.shape)}."
    if kind(got) != kind(expected) or got.dtype.itemsize < expected.dtype.itemsize:
        return f"{name} is of dtype {_dtype(got)}, but should be {_dtype(expected)}."
    return _value_difference(expected, got, name)


def _value_difference(expected: Tensor, got: Tensor, name: str) -> str:
    wrong = (~close(expected, got)).nonzero()
    index = tuple(wrong[0].tolist())
    if got[index].isnan():
        nans = int(got.isnan().sum())
        return f"{name} holds NaN, {nans} of {got.numel()} values; the first is at {list(index)}."
    seen, right = _number(got[index]), _number(expected[index])
    return (
        f"{name} differs in {len(wrong)} of {got.numel()} values; the first is at {list(index)}: "
        f"yours is {seen}, expected {right}."
    )


def _number(x: Tensor) -> str:
    value = x.item()
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_sequence_of(x: Any, length: int) -> bool:
    return isinstance(x, tuple | list) and len(x) == length


def _is_plain(x: Any) -> bool:
    """A tensor that holds its numbers: not sparse, not on the meta device."""
    return isinstance(x, Tensor) and x.layout == torch.strided and not x.is_meta


def _type(x: Any) -> str:
    if not isinstance(x, Tensor):
        return type(x).__name__
    return "torch.Tensor" if _is_plain(x) else f"{x.layout} on device {x.device}"


def _dtype(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")
