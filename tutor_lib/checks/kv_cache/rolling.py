"""The rolling cache for a sliding window, as students get it wrong."""
# the class tells the mistake; its methods are those of the exercise

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.kv_cache import rolling_parts as parts
from tutor_lib.checks.kv_cache.cache import kv_cache

Pair = tuple[Tensor, Tensor]


class Reference:
    """The last keys and values alone: W − 1 of them wait for the next token."""

    def __init__(
        self,
        batch: int,
        n_kv_heads: int,
        window: int,
        head_size: int,
        dtype: torch.dtype = torch.float32,
        device: Any = None,
    ) -> None:
        self.window = window
        self.keys = torch.zeros(batch, n_kv_heads, 0, head_size, dtype=dtype, device=device)
        self.values = torch.zeros_like(self.keys)
        self.length = 0

    def update(self, k: Tensor, v: Tensor) -> Pair:
        """Append k and v; return them after the up to W − 1 before them."""
        return self.append(k, v, self.window - 1)

    def append(self, k: Tensor, v: Tensor, kept: int) -> Pair:
        """The same, with `kept` keys kept for the next update."""
        keys, values = torch.cat((self.keys, k), dim=2), torch.cat((self.values, v), dim=2)
        start = max(0, keys.size(2) - kept)
        self.keys, self.values = keys[:, :, start:].clone(), values[:, :, start:].clone()
        self.length += k.size(2)
        return keys, values


rolling = Exercise("RollingKVCache", Reference, uses=(kv_cache,), learns=False)
rolling.part("RollingKVCache", 2, parts.steps, parts.step, parts.STEPS)
rolling.part("RollingKVCache_chunks", 1, parts.chunks, parts.chunk, parts.CHUNKS)


def last(x: Tensor, n: int) -> Tensor:
    """The last n positions, or all if there are fewer."""
    return x[:, :, max(0, x.size(2) - n) :]


@rolling.misconception
class WindowTooWide(Reference):
    """Your window is one too wide: past the edge, a query sees W keys before it, and itself. The
    window counts the query's own position too, so W − 1 before it are in sight."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        return self.append(k, v, self.window)


@rolling.misconception
class WindowTooNarrow(Reference):
    """Your window is one too narrow: past the edge, W − 1 keys are returned, where it should be W:
    the W − 1 before the new one, and its own."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        return self.append(k, v, max(0, self.window - 2))


@rolling.misconception
class MinusZero(Reference):
    """With a window of 1 your cache forgets nothing. A slice from −0 on is the whole tensor: what
    is to be kept, W − 1 positions, may be none."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        return self.append(k, v, self.window - 1 or 10**9)


@rolling.misconception
class MinusZeroTooNarrow(Reference):
    """Two things: your window is one too narrow, W − 1 keys where it should be W; and a slice from
    −0 on is the whole tensor, not nothing."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = self.append(k, v, 10**9)
        self.keys = keys[:, :, -(self.window - 2) :].clone()
        self.values = values[:, :, -(self.window - 2) :].clone()
        return keys, values


@rolling.misconception
class NeverEvicts(Reference):
    """Your cache forgets nothing: it keeps, or returns, the whole past. Only the last W positions
    are in sight of a new token."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        return self.append(k, v, 10**9)


@rolling.misconception
class EvictsTheNewest(Reference):
    """When the window is full, your cache keeps the oldest keys and loses the newest. It is the
    oldest that must go."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = self.append(k, v, 10**9)
        self.keys = self.keys[:, :, : self.window].clone()
        self.values = self.values[:, :, : self.window].clone()
        return keys[:, :, : self.window], values[:, :, : self.window]


@rolling.misconception
class KeepsTheOldest(Reference):
    """You keep the first W − 1 positions of the text instead of the last: the new key comes after
    the oldest ones. It is the oldest that must go."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = self.append(k, v, 10**9)
        self.keys = keys[:, :, : self.window - 1].clone()
        self.values = values[:, :, : self.window - 1].clone()
        return keys, values


@rolling.misconception
class WholeRoom(Reference):
    """Before the window is full, you return the whole room with its zeros. A query would share its
    attention with keys of zeros: return what is filled alone."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        missing = max(0, self.window - keys.size(2))
        room = keys.new_zeros(keys.size(0), keys.size(1), missing, keys.size(3))
        return torch.cat((keys, room), dim=2), torch.cat((values, room), dim=2)


@rolling.misconception
class ZerosInFront(Reference):
    """Before the window is full, you return zeros in front of what is filled. A query would share
    its attention with keys of zeros: leave them out."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        missing = max(0, self.window - keys.size(2))
        room = keys.new_zeros(keys.size(0), keys.size(1), missing, keys.size(3))
        return torch.cat((room, keys), dim=2), torch.cat((room, values), dim=2)


@rolling.misconception
class AsTheyLie(Reference):
    """Your keys come in the order in which they lie in the ring: after the edge, the newest stands
    before older ones. Return them from the oldest to the newest, by which the mask counts."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        if keys.size(2) < self.window or keys.size(2) > self.window:
            return keys, values
        turn = self.length % self.window
        return keys.roll(turn, 2), values.roll(turn, 2)


@rolling.misconception
class NewestFirst(Reference):
    """You put the new keys in front of the old ones. Return them from the oldest to the newest."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        old, old_values = self.keys, self.values
        super().update(k, v)
        return torch.cat((k, old), dim=2), torch.cat((v, old_values), dim=2)


@rolling.misconception
class StartsOver(Reference):
    """When the window is full, your cache throws everything away and begins anew. A window slides:
    with each new token the oldest goes, and the others stay."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        full = self.keys.size(2) + k.size(2) > self.window
        kept = 0 if full else self.keys.size(2)
        self.keys, self.values = last(self.keys, kept), last(self.values, kept)
        return self.append(k, v, 10**9)


@rolling.misconception
class OnlyNew(Reference):
    """You return the new keys and values alone. They come after those before them that are still in
    the window."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        super().update(k, v)
        return k.clone(), v.clone()


@rolling.misconception
class OnlyOld(Reference):
    """You return what was there before the update. A token sees itself too: the new keys and values
    stand at the end."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        before = self.keys, self.values
        super().update(k, v)
        return before


@rolling.misconception
class Exchanged(Reference):
    """Keys and values have changed places. Return the keys first, then the values."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        return values, keys


@rolling.misconception
class LengthOfTheWindow(Reference):
    """Your length stops at the window. It counts all tokens that ever came: the next token's
    position is taken from it."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        self.length = min(self.length, self.window)
        return keys, values


@rolling.misconception
class LengthByUpdates(Reference):
    """Your length grows by 1 at each update, however many tokens come. It counts tokens."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        self.length -= k.size(2) - 1
        return keys, values


@rolling.misconception
class NeverMoreThanTheWindow(Reference):
    """You never return more than W positions. That is right for one new token; but of several, the
    first sees W − 1 keys before ITSELF. So return W − 1 from before, and all new ones."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        return last(keys, self.window), last(values, self.window)


@rolling.misconception
class KeepsOfTheNewAlone(Reference):
    """After several tokens at once, your cache keeps only from among them, even when they are fewer
    than the window. What came before is in sight still."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        if k.size(2) > 1:
            self.keys, self.values = last(k, self.window - 1), last(v, self.window - 1)
        return keys, values


@rolling.misconception
class DropsOneAtATime(Reference):
    """You drop one old position at each update. That is right for one new token; when several come,
    so many must go that W − 1 are left."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = self.append(k, v, 10**9)
        if keys.size(2) >= self.window:
            self.keys, self.values = self.keys[:, :, 1:].clone(), self.values[:, :, 1:].clone()
        return keys, values


@rolling.misconception
class LosesTheStart(Reference):
    """Of a prompt that is longer than the window, you return the last W positions. Its first tokens
    look at their own neighbours, which then are missing: return all new ones."""

    def update(self, k: Tensor, v: Tensor) -> Pair:
        keys, values = super().update(k, v)
        if k.size(2) > self.window:
            return last(k, self.window), last(v, self.window)
        return keys, values
