"""Results as another process can be told them: numbers, words, tensors, arrays, lists of these.

An answer may be checked from outside the process in which it lives. What comes of a call is told
there in these words alone, and in the same words where both are one process. What is no data, an
object of a class of the student's own, say, is told by the name of its type.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

Plain = tuple[str, Any]
NUMBERS = "biufc"  # the kinds of NumPy's dtypes that hold truth values or numbers
DATA = (bool, int, float, complex, str, type(None), Tensor, np.ndarray, np.generic)


@dataclass(frozen=True, eq=False)
class Foreign:
    """Stands for something that is no data. It equals nothing, and knows what type it is of."""

    kind: str


def pack(value: Any) -> Plain:
    """What `value` is, in plain words."""
    if isinstance(value, tuple | list):
        return "tuple" if isinstance(value, tuple) else "list", [pack(part) for part in value]
    if is_plain(value):
        value = value.detach()
        return "data", value if type(value) is Tensor else value.as_subclass(Tensor)
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in NUMBERS:
        return "data", np.asarray(value) if isinstance(value, np.ndarray) else value
    if type(value) in DATA and not is_array(value):
        return "data", value
    return "other", type_name(value)


def unpack(plain: Plain) -> Any:
    """The value that is told; a Foreign for what is no data, whatever it is said to be."""
    kind, value = plain
    if kind in ("tuple", "list"):
        parts = [unpack(part) for part in value]
        return tuple(parts) if kind == "tuple" else parts
    # Not isinstance: an object of another process may lie about its class.
    is_data = kind == "data" and issubclass(type(value), DATA)
    return value if is_data else Foreign(str(value))


def is_array(x: Any) -> bool:
    """A tensor, or an array of NumPy's."""
    return isinstance(x, Tensor | np.ndarray)


def is_plain(x: Any) -> bool:
    """A tensor that holds its numbers: not sparse, not on the meta device."""
    return isinstance(x, Tensor) and x.layout == torch.strided and not x.is_meta


def type_name(x: Any) -> str:
    """What to call the type of `x`; of a tensor that holds no numbers, how it keeps them."""
    if isinstance(x, Foreign):
        return x.kind
    if not isinstance(x, Tensor):
        return type(x).__name__
    return "torch.Tensor" if is_plain(x) else f"{x.layout} on device {x.device}"
