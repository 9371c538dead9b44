"""Caches that take no room at the beginning, or do not look whether it suffices."""
# the class tells the mistake; its methods are those of the exercise

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.kv_cache.cache import kv_cache

Pair = tuple[Tensor, Tensor]


class Growing:
    """A cache whose tensors grow, along the axis `along`."""

    along = 2

    def __init__(
        self, batch: int, n_kv_heads: int, capacity: int, head_size: int, *kind: Any
    ) -> None:
        self.length = 0
        self.keys = self.values = torch.zeros(0)

    def update(self, k: Tensor, v: Tensor) -> Pair:
        first = self.length == 0
        self.keys = k.clone() if first else torch.cat((self.keys, k), dim=self.along)
        self.values = v.clone() if first else torch.cat((self.values, v), dim=self.along)
        self.length += k.size(2)
        return self.keys, self.values

    def crop(self, length: int) -> None:
        self.length = length
        self.keys, self.values = self.keys[:, :, :length], self.values[:, :, :length]


@kv_cache.misconception
class GrowsOverPositions(Growing):
    """Your cache begins empty and grows by torch.cat. That copies the whole past for each new
    token. Take the room for all `capacity` positions at once, in __init__."""


@kv_cache.misconception
class GrowsOverHeads(Growing):
    """You put the new keys beside the old ones along axis 1, as if they were further heads. They
    are further positions: axis 2 of (B, K, T, D)."""

    along = 1


@kv_cache.misconception
class GrowsOverNumbers(Growing):
    """You put the new keys beside the old ones along axis 3, which makes longer keys. They are
    further positions: axis 2 of (B, K, T, D)."""

    along = 3


@kv_cache.misconception
class GrowsOverBatch(Growing):
    """You put the new keys beside the old ones along axis 0, as if they were further texts. They
    are further positions: axis 2 of (B, K, T, D)."""

    along = 0


class Careless:
    """A cache that writes without a look at the room."""

    def __init__(
        self,
        batch: int,
        n_kv_heads: int,
        capacity: int,
        head_size: int,
        dtype: torch.dtype = torch.float32,
        device: Any = None,
    ) -> None:
        self.keys = torch.zeros(batch, n_kv_heads, capacity, head_size, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def update(self, k: Tensor, v: Tensor) -> Pair:
        stop = self.length + k.size(2)
        self.keys[:, :, self.length : stop] = k
        self.values[:, :, self.length : stop] = v
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def crop(self, length: int) -> None:
        self.length = length


@kv_cache.misconception
class NeverRefuses(Careless):
    """Your cache does not look whether the new tokens fit. A slice past the end is empty, so that
    one token too many is lost without a word. Compare first, and raise ValueError."""


@kv_cache.misconception
class RefusesByAccident(Careless):
    """Your cache does not look whether the new tokens fit, and leaves it to PyTorch to stumble.
    Compare first, and raise a ValueError that says what is wrong."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        self.keys.narrow(2, self.length, k.size(2))
        return super().update(k, v)


@kv_cache.misconception
class LooksAtNewOnly(Careless):
    """You compare the room with the number of new tokens alone. What is filled already takes room
    too."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        if k.size(2) > self.keys.size(2):
            raise ValueError("full")
        return super().update(k, v)


@kv_cache.misconception
class LooksAtOldOnly(Careless):
    """You refuse only when the cache is full already. It must refuse too when there is room for
    some of the new tokens, but not for all."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        if self.length >= self.keys.size(2):
            raise ValueError("full")
        return super().update(k, v)


@kv_cache.misconception
class NeverQuiteFull(Careless):
    """Your cache refuses the update that would make it exactly full. `capacity` positions fit;
    capacity + 1 do not."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        if self.length + k.size(2) >= self.keys.size(2):
            raise ValueError("full")
        return super().update(k, v)


@kv_cache.misconception
class CountsBeforeRefusing(Careless):
    """You count the new tokens before you refuse them, so that after the error the length is
    wrong. Look first, then write, then count."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        if self.length + k.size(2) > self.keys.size(2):
            self.length += k.size(2)
            raise ValueError("full")
        return super().update(k, v)


@kv_cache.misconception
class StartsOver(Careless):
    """When the room is full, your cache starts over at the beginning and overwrites the oldest
    tokens. Nothing may be lost here: raise ValueError."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        if self.length + k.size(2) > self.keys.size(2):
            self.length = 0
            k, v = k[:, :, : self.keys.size(2)], v[:, :, : self.keys.size(2)]
        return super().update(k, v)
