"""The KV cache, as students get it wrong."""
# the class tells the mistake; its methods are those of the exercise

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.kv_cache import cache_parts as parts

Pair = tuple[Tensor, Tensor]


class Reference:
    """Room for the keys and values of one layer, filled from the left."""

    def __init__(
        self,
        batch: int,
        n_kv_heads: int,
        capacity: int,
        head_size: int,
        dtype: torch.dtype = torch.float32,
        device: Any = None,
    ) -> None:
        self.capacity = capacity
        self.keys = torch.zeros(batch, n_kv_heads, capacity, head_size, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def update(self, k: Tensor, v: Tensor) -> Pair:
        """Append k and v; return all keys and values so far."""
        stop = self.length + k.size(2)
        self.refuse(stop)
        for new in (k, v):
            if (*new.shape[:2], new.size(3)) != (*self.keys.shape[:2], self.keys.size(3)):
                raise ValueError(
                    f"keys of shape {tuple(new.shape)} do not fit a cache of shape "
                    f"{tuple(self.keys.shape)}"
                )
        self.write(k, v, self.length)
        self.length = stop
        return self.filled(stop)

    def refuse(self, stop: int) -> None:
        """Raise ValueError if `stop` positions do not fit."""
        if stop > self.keys.size(2):
            raise ValueError(f"the cache holds {self.keys.size(2)} positions, {stop} are needed")

    def write(self, k: Tensor, v: Tensor, start: int) -> None:
        """Put k and v into the room from `start` on, as far as it goes."""
        room = self.keys[:, :, start : start + k.size(2)].size(2)
        self.keys[:, :, start : start + room] = k[:, :, :room]
        self.values[:, :, start : start + room] = v[:, :, :room]

    def filled(self, stop: int) -> Pair:
        """The first `stop` keys and values."""
        return self.keys[:, :, :stop], self.values[:, :, :stop]

    def crop(self, length: int) -> None:
        """Forget all positions from `length` on."""
        self.length = length


kv_cache = Exercise("KVCache", Reference, finished=("DynamicCache", "StaticCache"), learns=False)
kv_cache.part("KVCache", 3, parts.updates, parts.update, parts.UPDATE)
kv_cache.part("KVCache_crop", 1, parts.crops, parts.crop, parts.CROP, reading=parts.cropped)
kv_cache.part("KVCache_room", 1, parts.rooms, parts.room, parts.ROOM, reading=parts.refused)


@kv_cache.misconception
class WholeBuffer(Reference):
    """You return the whole room, also the part that nothing is written in yet. A query would share
    its attention with keys of zeros. Return the filled part alone."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        super().update(k, v)
        return self.keys, self.values


@kv_cache.misconception
class OnlyNew(Reference):
    """You return the new keys and values alone. The new token must look at all that came before
    it: return everything that is filled."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        super().update(k, v)
        return k.clone(), v.clone()


@kv_cache.misconception
class OnlyOld(Reference):
    """You return what was there before the update. A token looks at itself too: return the filled
    part with the new keys and values at its end."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        before = self.length
        super().update(k, v)
        return self.filled(before)


@kv_cache.misconception
class AlwaysAtZero(Reference):
    """You write each update to the beginning of the room, over what was there. Write behind what is
    filled."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        self.refuse(self.length + k.size(2))
        self.write(k, v, 0)
        self.length += k.size(2)
        return self.filled(self.length)


@kv_cache.misconception
class NeverAdvanced(Reference):
    """Your length stays where it was, so that each update is written over the one before. Count the
    new tokens in self.length."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        self.write(k, v, self.length)
        return self.filled(self.length + k.size(2))


@kv_cache.misconception
class AdvancedByOne(Reference):
    """Your length grows by 1 at each update, however many tokens come. That is right for one new
    token; the prompt comes as T of them at once."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        self.refuse(self.length + k.size(2))
        self.write(k, v, self.length)
        self.length += 1
        return self.filled(self.length)


@kv_cache.misconception
class AdvancedByOneLater(Reference):
    """What you return is right at first, but your length grows by 1 at each update, however many
    tokens come. So the next update overwrites some of them."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        self.refuse(self.length + k.size(2))
        self.write(k, v, self.length)
        self.length += 1
        return self.filled(self.length - 1 + k.size(2))


@kv_cache.misconception
class SetNotAdvanced(Reference):
    """You set the length to the number of new tokens. Add it to what the length was: the tokens
    from before are still there."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        self.length = k.size(2)
        return keys, values


@kv_cache.misconception
class AdvancedFirst(Reference):
    """You move the length before you write, so that the new tokens land behind a gap of zeros. The
    place to write to is the length from before."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        self.refuse(self.length + k.size(2))
        self.length += k.size(2)
        self.write(k, v, self.length)
        return self.filled(self.length)


@kv_cache.misconception
class OneTooMany(Reference):
    """You return one position more than is filled: a key of zeros at the end. Mind that a slice
    does not include its end."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        super().update(k, v)
        return self.filled(self.length + 1)


@kv_cache.misconception
class OneTooFew(Reference):
    """You return one position less than is filled: the newest token does not see itself. Mind that
    a slice does not include its end."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        super().update(k, v)
        return self.filled(self.length - 1)


@kv_cache.misconception
class Exchanged(Reference):
    """Keys and values have changed places. Return the keys first, then the values."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        return values, keys


@kv_cache.misconception
class KeysTwice(Reference):
    """Your values are the keys. Look where k is written that should be v."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        return super().update(k, k)


@kv_cache.misconception
class OneRoom(Reference):
    """Your keys are the values: both are written into one and the same tensor. Make two tensors;
    a second name for the first is not a second tensor."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        return super().update(v, v)


@kv_cache.misconception
class CropsNothing(Reference):
    """Your crop leaves the length as it was. Zeros in the room are still attended to; what is
    forgotten is what lies behind self.length."""

    def crop(self, length: int) -> None:
        self.keys[:, :, length:] = 0
        self.values[:, :, length:] = 0


@kv_cache.misconception
class CropsAll(Reference):
    """Your crop forgets everything. It should keep the first `length` positions."""

    def crop(self, length: int) -> None:
        self.length = 0


@kv_cache.misconception
class CropsSoMany(Reference):
    """Your crop drops so many positions as it is told to keep. The argument is the length
    afterwards, not the number to take away."""

    def crop(self, length: int) -> None:
        self.length -= length


@kv_cache.misconception
class CropsOneTooFew(Reference):
    """Your crop keeps one position too many. Afterwards `length` positions are there: number 0 to
    number length − 1."""

    def crop(self, length: int) -> None:
        self.length = length + 1


@kv_cache.misconception
class CropsOneTooMany(Reference):
    """Your crop keeps one position too few. Afterwards `length` positions are there: number 0 to
    number length − 1."""

    def crop(self, length: int) -> None:
        self.length = max(0, length - 1)


@kv_cache.misconception
class CropsTheRoom(Reference):
    """Your crop cuts off the room itself, so that nothing can be written there again. Keep the
    tensors as long as they are, and move self.length alone."""

    def crop(self, length: int) -> None:
        self.keys, self.values = self.keys[:, :, :length], self.values[:, :, :length]
        self.length = length


@kv_cache.misconception
class CropsTheOldest(Reference):
    """Your crop keeps the last `length` positions. It should keep the first ones: what is
    forgotten is the end of the text."""

    def crop(self, length: int) -> None:
        start = self.length - length
        self.keys = self.keys.roll(-start, 2)
        self.values = self.values.roll(-start, 2)
        self.length = length
