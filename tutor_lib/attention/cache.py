"""The KV cache: keys and values of the past, kept so that no token is computed twice."""

import torch
from jaxtyping import Float
from torch import Tensor


class KVCache:
    """Room for the keys and values of one layer, filled from the left.

    Memory: 2 · K · D · capacity · B numbers a layer. The room is taken once; `update` writes
    into it and returns views of the filled part, so nothing is copied as the text grows.
    """

    def __init__(
        self,
        batch: int,
        n_kv_heads: int,
        capacity: int,
        head_size: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> None:
        shape = (batch, n_kv_heads, capacity, head_size)
        if min(shape) < 1:
            raise ValueError(f"batch, heads, capacity and head size must be positive, got {shape}")
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.length = 0

    def update(
        self, k: Float[Tensor, "B K T D"], v: Float[Tensor, "B K T D"]
    ) -> tuple[Float[Tensor, "B K S D"], Float[Tensor, "B K S D"]]:
        """Append T keys and values; return all S = length + T of them.

        Raises ValueError if they do not fit, in room or in shape.
        """
        batch, heads, capacity, size = self.keys.shape
        stop = self.length + k.size(-2)
        if stop > capacity:
            raise ValueError(f"the cache holds {capacity} positions, {stop} are needed")
        if (k.size(0), k.size(1), k.size(3)) != (batch, heads, size):
            raise ValueError(f"keys of shape {tuple(k.shape)} do not fit {(batch, heads, size)}")
        self.keys[:, :, self.length : stop] = k
        self.values[:, :, self.length : stop] = v
        self.length = stop
        return self.keys[:, :, :stop], self.values[:, :, :stop]
