"""Run code as if its arguments lay on a GPU, on a machine that has none.

Tensors made without a device are born on the CPU. Where one of them meets an argument, a GPU
would refuse; so does this mode, with PyTorch's own words.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_NAMES = """arange as_tensor asarray empty eye from_numpy full linspace logspace ones rand randint
randn randperm scalar_tensor tensor tril_indices triu_indices zeros""".split()
MAKERS = {getattr(torch, name) for name in _NAMES}
# These copy from one device to another, or take indices from the CPU.
ACROSS = {Tensor.__getitem__, Tensor.__setitem__, Tensor.copy_, Tensor.to, Tensor.type_as,
          Tensor.cpu, Tensor.tolist, Tensor.item}  # fmt: skip
TO_NUMPY: set[Any] = {Tensor.numpy, Tensor.__array__}


class WrongDevice(RuntimeError):
    """What PyTorch raises where tensors of two devices meet."""


def is_here(tensor: Any) -> bool:
    """Was this tensor born on the CPU while its neighbours are elsewhere?"""
    return getattr(tensor, "_born_here", False)


def _put(tensor: Any, here: bool) -> None:
    tensor._born_here = here


class Elsewhere(TorchFunctionMode):
    """While it is on, all tensors that exist already count as lying on a GPU."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Refuse what a GPU would refuse, and mark what is born on the CPU."""
        kwargs = kwargs or {}
        tensors = [*tensors_in([*args, *kwargs.values()])]
        if func in TO_NUMPY and not is_here(args[0]):
            raise WrongDevice("can't convert cuda:0 device type tensor to numpy; use .cpu() first")
        inputs = [t for t in tensors if t.ndim]
        mixed = any(map(is_here, inputs)) and not all(map(is_here, inputs))
        if mixed and func not in ACROSS:
            raise WrongDevice(
                "Expected all tensors to be on the same device, but found at least two devices, "
                "cuda:0 and cpu!"
            )
        result = func(*args, **kwargs)
        return _mark(result, func, args, kwargs, tensors)


def tensors_in(values: Iterable[Any]) -> Iterator[Tensor]:
    """All tensors in nested lists and tuples."""
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from tensors_in(value)


def _mark(
    result: Any, func: Callable[..., Any], args: Any, kwargs: Any, tensors: list[Tensor]
) -> Any:
    """Say of a result whether it is here: by the device asked for, else by what it came from."""
    if not isinstance(result, Tensor):
        for part in tensors_in(result) if isinstance(result, list | tuple) else ():
            _put(part, bool(tensors) and is_here(tensors[0]))
        return result
    asked = [kwargs.get("device"), *(args[1:] if func is Tensor.to else ())]
    here = is_here(tensors[0]) if tensors else func in MAKERS
    if func is Tensor.cpu or any(isinstance(a, str) and a == "cpu" for a in asked):
        here = True
    elif any(isinstance(a, torch.device | Tensor) for a in asked) or func is Tensor.type_as:
        here = False
    if here != is_here(result):
        result = result.view(result.shape) if any(result is t for t in tensors) else result
        _put(result, here)
    return result
