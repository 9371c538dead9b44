"""Tensors and arrays as bytes. torch and numpy are used where they are imported already.

A tensor travels with its dtype, its shape and whether it asks for a gradient: a parameter, a view
or a part of a graph arrives as a plain tensor on the CPU. What has no plain numbers (sparse,
quantised, a subclass, an array of objects) is no data.
"""

import functools
import math
import re
import sys
from collections.abc import Callable
from typing import Any

_KINDS = "biufcSUmM"  # numpy's kinds of dtype that hold plain numbers, texts and times
_NUMPY_DTYPE = re.compile(rf"[<>|=][{_KINDS}]\d{{1,9}}(\[\d{{0,9}}[a-zA-Z]{{1,7}}\])?")


def put(writer: Any, value: Any, kind: type) -> list[Any] | None:
    """What stands for a tensor, an array or a dtype in the JSON; None for anything else."""
    torch, numpy = sys.modules.get("torch"), sys.modules.get("numpy")
    if hasattr(torch, "Tensor") and (node := _put_torch(torch, writer, value, kind)):
        return node
    return _put_numpy(numpy, writer, value, kind) if hasattr(numpy, "ndarray") else None


def _put_torch(torch: Any, writer: Any, value: Any, kind: type) -> list[Any] | None:
    if kind is torch.Tensor or kind is torch.nn.Parameter:
        with _plainly(torch):
            return _put_tensor(torch, writer, value)
    if kind is torch.dtype:
        return ["torch.dtype", _name(value)]
    return ["torch.device", str(value)] if kind is torch.device else None


def _put_tensor(torch: Any, writer: Any, value: Any) -> list[Any] | None:
    if value.layout is not torch.strided or value.is_quantized or value.is_nested:
        return None
    if value.dtype not in _torch_dtypes(torch).values():
        return None
    about = [_name(value.dtype), value.requires_grad, *value.shape]
    if value.is_meta:
        return ["meta", *about]
    writer.claim(value.numel() * value.element_size())  # before an expanded view is written out
    whole = value.detach().resolve_conj().resolve_neg().cpu().contiguous()
    # Not reshape: a single number that was expanded keeps a stride of 0, which has no bytes.
    flat = whole.as_strided((whole.numel(),), (1,))
    return ["tensor", writer.beside(memoryview(flat.view(torch.uint8).numpy())), *about]


def _plainly(torch: Any) -> Any:
    """Without the modes that a test may have switched on: what is carried is no part of it."""
    return torch._C.DisableTorchFunction()


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")


@functools.cache
def _torch_dtypes(torch: Any) -> dict[str, Any]:
    """The dtypes of numbers by name; not those that only quantised tensors or bit fields have."""
    found = {d for d in vars(torch).values() if isinstance(d, torch.dtype)}
    plain = re.compile(r"bool|u?int(8|16|32|64)|b?float(8_|16|32|64).*|complex(32|64|128)")
    return {_name(dtype): dtype for dtype in found if plain.fullmatch(_name(dtype))}


def _put_numpy(numpy: Any, writer: Any, value: Any, kind: type) -> list[Any] | None:
    if issubclass(kind, numpy.dtype):
        return ["numpy.dtype", value.str] if _is_plain(value) else None
    is_scalar = issubclass(kind, numpy.generic) and kind is value.dtype.type
    if not (is_scalar or kind is numpy.ndarray) or not _is_plain(value.dtype):
        return None
    writer.claim(value.nbytes)
    index = writer.beside(value.tobytes())
    return ["scalar" if is_scalar else "array", index, value.dtype.str, *value.shape]


def _is_plain(dtype: Any) -> bool:
    """Numbers, texts or times; not records, objects or texts of no length."""
    return dtype.kind in _KINDS and dtype.itemsize > 0 and dtype.fields is None


def _get_tensor(reader: Any, index: Any, name: Any, learns: Any, *shape: Any) -> Any:
    torch = _module("torch")
    dtype, data = _get_torch_dtype(reader, name), reader.buffer(index)
    if _count(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for a tensor of shape {shape!s:.100}")
    with _plainly(torch):
        if not len(data):
            return torch.empty(shape, dtype=dtype, device="cpu").requires_grad_(_flag(learns))
        # Cloned as bytes: the frame's memory is another's, and its offset may be unaligned.
        flat = torch.frombuffer(data, dtype=torch.uint8).clone()
        flat = flat != 0 if dtype is torch.bool else flat.view(dtype)  # True is 1, not any byte
        return flat.reshape(shape).requires_grad_(_flag(learns))


def _get_meta(reader: Any, name: Any, learns: Any, *shape: Any) -> Any:
    _count(shape)
    torch, dtype = _module("torch"), _get_torch_dtype(reader, name)
    with _plainly(torch):
        return torch.empty(shape, dtype=dtype, device="meta").requires_grad_(_flag(learns))


def _get_array(reader: Any, index: Any, name: Any, *shape: Any) -> Any:
    numpy = _module("numpy")
    dtype, data = _get_numpy_dtype(reader, name), reader.buffer(index)
    if _count(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{len(data)} bytes for an array of shape {shape!s:.100}")
    flat = numpy.frombuffer(data, dtype=numpy.uint8).copy()
    if dtype.kind == "b":
        flat = flat != 0
    if dtype.kind == "U" and (flat.view(dtype.str.replace("U", "u")[:2] + "4") > 0x10FFFF).any():
        raise ValueError("a text with a character that does not exist")
    return flat.view(dtype).reshape(shape)


def _get_scalar(reader: Any, index: Any, name: Any) -> Any:
    return _get_array(reader, index, name)[()]


def _get_torch_dtype(reader: Any, name: Any) -> Any:
    return _torch_dtypes(_module("torch"))[name]


def _get_device(reader: Any, name: Any) -> Any:
    if type(name) is not str or len(name) > 100:
        raise ValueError("a device that is none")
    return _module("torch").device(name)


def _get_numpy_dtype(reader: Any, name: Any) -> Any:
    if type(name) is not str or not _NUMPY_DTYPE.fullmatch(name):
        raise ValueError(f"no dtype {name!s:.50}")
    dtype = _module("numpy").dtype(name)
    if not _is_plain(dtype):
        raise ValueError(f"no dtype of plain numbers: {name}")
    return dtype


def _module(name: str) -> Any:
    if (module := sys.modules.get(name)) is None:
        raise ValueError(f"a value of {name}, which is not imported here")
    return module


def _count(shape: tuple[Any, ...]) -> int:
    if len(shape) > 64 or not all(type(n) is int and 0 <= n < 1 << 62 for n in shape):
        raise ValueError(f"no shape: {shape!s:.100}")
    return math.prod(shape)


def _flag(flag: Any) -> bool:
    if type(flag) is not bool:
        raise ValueError("requires_grad should be true or false")
    return flag


READERS: dict[str, Callable[..., Any]] = {
    "tensor": _get_tensor,
    "meta": _get_meta,
    "array": _get_array,
    "scalar": _get_scalar,
    "torch.dtype": _get_torch_dtype,
    "torch.device": _get_device,
    "numpy.dtype": _get_numpy_dtype,
}
