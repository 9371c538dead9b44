"""Compare results: are they equal, and if not, where do they part?"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tutor_lib.checks.plain import is_array, is_plain, type_name

# Loose enough for sums in another order, for float32 loops and for −1e9 in place of −∞;
# the mistakes change results by a hundred times as much (tests/checks holds them to it).
RTOL, ATOL = 1e-4, 1e-5


def agree(expected: Any, got: Any) -> bool:
    """Is `got` the right answer? A floating-point result may be more precise than expected."""
    if isinstance(expected, tuple):
        return _is_sequence_of(got, len(expected)) and all(map(agree, expected, got))
    if is_array(expected) and is_array(got):
        return got.dtype.itemsize >= expected.dtype.itemsize and matches(expected, got)
    return matches(expected, got) and not _is_float_for_int(expected, got)


def _is_float_for_int(expected: Any, got: Any) -> bool:
    return isinstance(expected, int) and isinstance(got, float | np.floating)


def alike(expected: Any, got: Any) -> bool:
    """Are both of the same type, shape and kind, so that only the values can differ?"""
    if isinstance(expected, tuple):
        return _is_sequence_of(got, len(expected)) and all(map(alike, expected, got))
    if is_array(expected):
        if not _is_like(expected, got):
            return False
        return kind(expected) == kind(got) and tuple(expected.shape) == tuple(got.shape)
    if _is_number(expected):
        return _is_number(got)
    return type(expected) is type(got)


def matches(wrong: Any, got: Any) -> bool:
    """Are both the same result, NaN for NaN, whatever the precision?"""
    if not alike(wrong, got):
        return False
    if isinstance(wrong, tuple):
        return all(map(matches, wrong, got))
    if is_array(wrong):
        return bool(close(wrong, got).all())
    return _same_number(wrong, got) if _is_number(wrong) else bool(wrong == got)


def close(expected: Any, got: Any) -> Tensor:
    """Where two tensors or arrays of the same shape are equal within the tolerance."""
    a, b = (_tensor(t).detach().to("cpu", torch.float64) for t in (expected, got))
    return torch.isclose(a, b, rtol=RTOL, atol=ATOL, equal_nan=True)


def _same_number(expected: Any, got: Any) -> bool:
    """Counts must be equal to the last digit, other numbers within the tolerance."""
    if isinstance(expected, int):
        return bool(expected == got)
    return math.isclose(expected, got, rel_tol=RTOL, abs_tol=ATOL)


def kind(x: Any) -> str:
    """Whether a tensor holds truth values, integers, or floating-point or complex numbers."""
    x = _tensor(x)
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
    return _difference(expected, got, parts[0] if parts else "the result")


def _tuple_difference(expected: tuple[Any, ...], got: Any, parts: Sequence[str]) -> str:
    wanted = f"{len(expected)} things ({', '.join(parts)})"
    if not isinstance(got, tuple | list):
        return f"your function returned one {type_name(got)}, but should return {wanted}."
    if len(got) != len(expected):
        return f"your function returned {len(got)} things, but should return {wanted}."
    for part, right, theirs in zip(parts, expected, got, strict=True):
        if not agree(right, theirs):
            return _difference(right, theirs, part)
    return "no difference found."


def _difference(expected: Any, got: Any, name: str) -> str:
    if is_array(expected):
        return _array_difference(expected, got, name)
    if not alike(expected, got):
        return f"{name} is of type {type_name(got)}, but should be {_article(expected)}."
    if _is_float_for_int(expected, got) and got == expected:
        return f"{name} is {got}, of type {type_name(got)}, but should be {_article(expected)}."
    if isinstance(expected, bool):
        return f"{name}: {'yes' if got else 'no'}, but it should be {'yes' if expected else 'no'}."
    return f"{name} is {_number(got)}, expected {_number(expected)}."


def _array_difference(expected: Any, got: Any, name: str) -> str:
    if not _is_like(expected, got):
        return f"{name} is of type {type_name(got)}, but should be {_article(expected)}."
    if tuple(got.shape) != tuple(expected.shape):
        return f"{name} has shape {tuple(got.shape)}, but should have {tuple(expected.shape)}."
    if kind(got) != kind(expected) or got.dtype.itemsize < expected.dtype.itemsize:
        return f"{name} is of dtype {_dtype(got)}, but should be {_dtype(expected)}."
    return _value_difference(_tensor(expected), _tensor(got), name)


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


def _number(x: Any) -> str:
    value = x.item() if isinstance(x, Tensor) else x
    return f"{value:.4g}" if isinstance(value, float) else str(value)[:200]


def _is_sequence_of(x: Any, length: int) -> bool:
    return isinstance(x, tuple | list) and len(x) == length


def _is_like(expected: Any, got: Any) -> bool:
    """A tensor that holds its numbers where a tensor should be, an array for an array."""
    if isinstance(expected, np.ndarray):
        return isinstance(got, np.ndarray) and got.dtype.kind in "biufc"
    return is_plain(got)


def _is_number(x: Any) -> bool:
    return isinstance(x, int | float | np.number) and not isinstance(x, bool)


def _tensor(x: Any) -> Tensor:
    return x if isinstance(x, Tensor) else torch.from_numpy(np.ascontiguousarray(x))


def _article(expected: Any) -> str:
    if isinstance(expected, Tensor):
        return "a torch.Tensor"
    names = {np.ndarray: "a NumPy array", int: "an int"}
    return names.get(type(expected), f"a {type(expected).__name__}")


def _dtype(x: Any) -> str:
    return str(x.dtype).removeprefix("torch.")
