"""The decoder-only transformer: token ids in, logits for the next token out."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache, RollingKVCache
from tutor_lib.attention.core import window_mask
from tutor_lib.attention.scored import softcap
from tutor_lib.embed.positions import LearnedPositions
from tutor_lib.embed.rope import RotaryEmbedding, rotate, rotate_interleaved
from tutor_lib.model.block import Block
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.layers import check_ids


class Decoder(nn.Module):
    """Embed, L blocks, norm, unembed.

    Its config makes it a GPT-2 (Radford et al. 2019), a Llama (arXiv:2302.13971, 2307.09288,
    2407.21783), a Mistral (2310.06825), a Mixtral (2401.04088), a Qwen 2.5 (2412.15115), a
    DeepSeek-V3 (2412.19437) or a Gemma 2 (2408.00118); `tutor_lib.model.zoo` has them by name.
    """

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        if not config.family.rotary:
            self.positions = LearnedPositions(config.context_length, config.d_model)
        rotary = rotary_embedding(config) if config.family.rotary else None
        self.blocks = nn.ModuleList(Block(config, rotary, i) for i in range(config.n_layers))
        self.final_norm = config.family.norm(config.d_model, config.norm_eps)
        if not config.tied:
            self.unembedding = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._initialise()

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        caches: list[KVCache] | None = None,
        padding: Int[Tensor, "B"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`.

        With `caches` (one a layer, from `new_caches`), `ids` continue what the caches hold.
        Texts of unequal length are filled up on the left: `padding` says with how many ids.

        Raises ValueError if an id is outside the vocabulary or the text outgrows the context.
        """
        start = caches[0].length if caches else 0
        self.check(ids, start + ids.size(1))
        positions = None if padding is None else places(start, ids.size(1), padding)
        x = self.embed(ids, start, positions)  # (B, T, C)
        masks = self.masks(ids.size(1), caches, padding)
        for i, block in enumerate(self.blocks):
            x = block(x, masks[i], caches[i] if caches else None, positions)
        return self.unembed(x)

    def embed(
        self, ids: Int[Tensor, "B T"], start: int = 0, positions: Int[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T C"]:
        """The vectors of `ids`, the first of which stands at position `start`."""
        x = self.embedding(ids)
        if self.config.family.scaled_embedding:
            x = x * torch.tensor(math.sqrt(self.config.d_model), dtype=x.dtype)
        if self.config.family.rotary:
            return x
        if positions is None:
            return self.positions(x, start)
        return x + self.positions.table(positions)

    def unembed(self, x: Float[Tensor, "B T C"]) -> Float[Tensor, "B T V"]:
        """Compare the normalised vector with every token's embedding, or unembedding."""
        tokens = self.embedding if self.config.tied else self.unembedding
        return softcap(self.final_norm(x) @ tokens.weight.T, self.config.logit_softcap)

    def new_caches(self, batch: int, capacity: int | None = None) -> list[KVCache]:
        """An empty cache for each layer, of `capacity` positions (the whole context if None).

        A layer with a shorter window gets a rolling one.

        Raises ValueError if `capacity` exceeds the context.
        """
        capacity = self.config.context_length if capacity is None else capacity
        self.check_length(capacity)
        return [self._new_cache(i, batch, capacity) for i in range(self.config.n_layers)]

    def _new_cache(self, layer: int, batch: int, capacity: int) -> KVCache:
        config, weight = self.config, self.embedding.weight
        kind, window = (weight.dtype, weight.device), config.window(layer)
        if config.latent is not None:
            sizes = config.latent
            return KVCache(batch, 1, capacity, sizes.kv_rank, *kind, value_size=sizes.rope_size)
        if window is not None and window < capacity:
            return RollingKVCache(batch, config.n_kv_heads, window, config.head_size, *kind)
        return KVCache(batch, config.n_kv_heads, capacity, config.head_size, *kind)

    def masks(
        self, n_new: int, caches: list[KVCache] | None, padding: Int[Tensor, "B"] | None
    ) -> list[Bool[Tensor, "*lead T S"] | None]:
        """Each layer's mask; None where it hides nothing but what lies ahead."""
        if n_new == 1 and padding is None and caches:
            return [None] * len(caches)  # whatever a cache hands back, its last token sees
        stop = (caches[0].length if caches else 0) + n_new
        made: dict[tuple[int | None, int], Tensor | None] = {}
        keys = []
        for i in range(self.config.n_layers):
            n_keys = caches[i].n_keys(n_new) if caches else n_new
            keys.append((self.config.window(i), n_keys))
            if keys[-1] not in made:
                made[keys[-1]] = self._mask(n_new, n_keys, stop, keys[-1][0], padding)
        return [made[key] for key in keys]

    def _mask(
        self, n_new: int, n_keys: int, stop: int, window: int | None, padding: Tensor | None
    ) -> Tensor | None:
        device = self.embedding.weight.device
        window = n_keys if window is None else min(window, n_keys)
        if padding is None and window == n_keys and n_new in (1, n_keys):
            return None
        mask = window_mask(n_new, window, n_keys, device)
        if padding is None:
            return mask
        keys = torch.arange(stop - n_keys, stop, device=device)
        # A filled-up place sees itself: a softmax over nothing would be NaN.
        itself = keys[-n_new:, None] == keys
        return mask & (keys >= padding[:, None, None, None]) | itself

    def check(self, ids: Int[Tensor, "B T"], stop: int) -> None:
        """Raise ValueError if an id is outside the vocabulary or `stop` tokens do not fit.

        Compiled code looks at no values; it has PyTorch's own check of the look-up.
        """
        self.check_length(stop)
        if not torch.compiler.is_compiling():
            check_ids(ids, self.config.vocab_size)

    def check_length(self, length: int) -> None:
        """Raise ValueError if `length` tokens do not fit the context."""
        if length > self.config.context_length:
            raise ValueError(
                f"{length} tokens do not fit the context of {self.config.context_length}"
            )

    @torch.no_grad()
    def _initialise(self) -> None:
        """Normal weights, σ = 0.02; what writes to the residual stream starts √(2L) smaller.

        Radford et al. 2019, §2.3: L layers write 2L times, and their sum keeps its scale.
        """
        for name, parameter in self.named_parameters():
            if parameter.ndim < 2:
                if name.endswith("_proj.bias"):
                    parameter.zero_()
                continue
            writes = name.removesuffix(".weight").endswith((".o_proj", ".down_proj"))
            scale = math.sqrt(2 * self.config.n_layers) if writes else 1.0
            parameter.normal_(std=0.02 / scale)


def places(start: int, n_new: int, padding: Int[Tensor, "B"]) -> Int[Tensor, "B T"]:
    """The positions of `n_new` ids from `start` on, in rows that begin after their padding."""
    ids = torch.arange(start, start + n_new, device=padding.device)
    return (ids - padding[:, None]).clamp(min=0)


def rotary_embedding(config: DecoderConfig) -> RotaryEmbedding:
    """What turns queries and keys: half-split pairs, or DeepSeek's neighbours."""
    size = config.head_size if config.latent is None else config.latent.rope_size
    turn = rotate if config.latent is None else rotate_interleaved
    return RotaryEmbedding(size, config.context_length, config.rope_base, config.rope_scaling, turn)
