"""The KV cache: keys and values of the past, kept so that no token is computed twice."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


class KVCache:
    """Room for the keys and values of one layer, filled from the left.

    Memory: 2 · K · D · capacity · B numbers a layer. The room is taken once; `update` writes
    into it and returns views of the filled part, so nothing is copied as the text grows.
    Multi-head latent attention keeps its latents as "keys" and its rotated keys as "values":
    then `value_size` differs from `head_size`.
    """

    def __init__(
        self,
        batch: int,
        n_kv_heads: int,
        capacity: int,
        head_size: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
        value_size: int | None = None,
    ) -> None:
        value_size = head_size if value_size is None else value_size
        if min(shape := (batch, n_kv_heads, capacity, head_size, value_size)) < 1:
            raise ValueError(f"batch, heads, capacity and head size must be positive, got {shape}")
        room = (batch, n_kv_heads, capacity)
        self.keys = torch.zeros(*room, head_size, dtype=dtype, device=device)
        self.values = torch.zeros(*room, value_size, dtype=dtype, device=device)
        self.length = 0

    def update(
        self, k: Float[Tensor, "B K T D"], v: Float[Tensor, "B K T Dv"]
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S Dv"]]:
        """Append T keys and values; return all S = length + T of them.

        Raises ValueError if they do not fit, in room or in shape.
        """
        stop = self.length + k.size(-2)
        if stop > self.keys.size(2):
            raise ValueError(f"the cache holds {self.keys.size(2)} positions, {stop} are needed")
        self._check(k, v)
        self.keys.narrow(2, self.length, k.size(2)).copy_(k)
        self.values.narrow(2, self.length, k.size(2)).copy_(v)
        self.length = stop
        return self.keys.narrow(2, 0, stop), self.values.narrow(2, 0, stop)

    def n_keys(self, n_queries: int) -> int:
        """How many keys `update` hands back when it is given `n_queries` new ones."""
        return self.length + n_queries

    def crop(self, length: int) -> None:
        """Forget all positions from `length` on, as when drafted tokens are rejected.

        Raises ValueError unless 0 ≤ length ≤ the length now.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"can crop to 0…{self.length} positions, not to {length}")
        self.length = length

    def reorder(self, rows: Int[Tensor, "B"]) -> None:
        """Let row b go on from what row `rows[b]` has seen, as beam search asks.

        Raises ValueError if there is no such row.
        """
        batch = self.keys.size(0)
        if rows.numel() and not (0 <= int(rows.min()) and int(rows.max()) < batch):
            raise ValueError(f"rows must lie in 0…{batch - 1}, got {rows.tolist()}")
        self.keys, self.values = self.keys[rows], self.values[rows]

    def _check(self, k: Tensor, v: Tensor) -> None:
        for new, room in ((k, self.keys), (v, self.values)):
            if new.shape[:2] != room.shape[:2] or new.size(3) != room.size(3):
                fitting = (*room.shape[:2], room.size(3))
                raise ValueError(f"keys or values of shape {tuple(new.shape)} do not fit {fitting}")


class RollingKVCache(KVCache):
    """The last keys and values alone, for attention with a sliding window.

    Memory stays at 2 · K · D · 2W · B numbers however long the text: Mistral 7B, §2
    (arXiv:2310.06825). The room is twice the window, so that what is left of the window moves
    to the front once in W tokens instead of at each; keys stay in order, and are views.
    """

    def __init__(
        self,
        batch: int,
        n_kv_heads: int,
        window: int,
        head_size: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__(batch, n_kv_heads, 2 * window, head_size, dtype, device)
        self.window = window
        self.stop = 0  # how much of the room is filled; the window's part is its end

    def update(
        self, k: Float[Tensor, "B K T D"], v: Float[Tensor, "B K T D"]
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]:
        """Append T keys and values; return them after the W - 1 before them, or fewer.

        Raises ValueError if they do not fit in shape.
        """
        self._check(k, v)
        n_new, n_all = k.size(-2), self.n_keys(k.size(-2))
        self.length += n_new
        first = self.stop - (n_all - n_new)  # the oldest key that a new query may see
        if self.stop + n_new <= self.keys.size(2):
            self.keys[:, :, self.stop : self.stop + n_new] = k
            self.values[:, :, self.stop : self.stop + n_new] = v
            self.stop += n_new
            return self.keys[:, :, first : self.stop], self.values[:, :, first : self.stop]
        k = torch.cat((self.keys[:, :, : self.stop], k), dim=2)
        v = torch.cat((self.values[:, :, : self.stop], v), dim=2)
        # Half a window more than attention needs, so that so much can always be cropped.
        kept = min(self.window + self.window // 2, k.size(2))
        self.stop = kept
        self.keys[:, :, :kept] = k[:, :, -kept:]
        self.values[:, :, :kept] = v[:, :, -kept:]
        return k[:, :, first:], v[:, :, first:]

    def n_keys(self, n_queries: int) -> int:
        """How many keys `update` hands back when it is given `n_queries` new ones."""
        return min(self.length, self.window - 1) + n_queries

    def crop(self, length: int) -> None:
        """Forget all positions from `length` on.

        Raises ValueError unless 0 ≤ length ≤ the length now, or if keys that the window needs
        then are gone already.
        """
        dropped = self.length - length
        needed = min(length, self.window - 1)
        stop = max(0, self.stop - dropped)
        if dropped and stop < needed:
            raise ValueError(
                f"cannot crop {self.length} positions to {length}: the cache has forgotten some of"
                f" the {needed} before"
            )
        super().crop(length)
        self.stop = stop
