"""How much memory a computation takes beyond its arguments, counted tensor by tensor."""

import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only


class PeakMemory(TorchDispatchMode):
    """Counts the bytes of the tensors made while it is on: `now` alive, `peak` at most.

    with PeakMemory() as memory: ...

    Every operation passes through here; a storage counts from the operation that made it
    until its last tensor is gone. What a kernel takes and frees inside is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        """Run one operation and count what it made."""
        tree_map_only(Tensor, self._note, (args, kwargs))
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, result)
        return result

    def _note(self, x: Tensor) -> None:
        self._known.add(x.untyped_storage())

    def _count(self, x: Tensor) -> None:
        storage = x.untyped_storage()
        if storage not in self._known:
            self._known.add(storage)
            self._add(storage.nbytes())
            weakref.finalize(storage, self._add, -storage.nbytes())

    def _add(self, n_bytes: int) -> None:
        self.now += n_bytes
        self.peak = max(self.peak, self.now)
