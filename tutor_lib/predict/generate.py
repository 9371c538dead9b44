"""The generation loop: prefill the prompt once, then decode one token at a time."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.attention.cache import KVCache
from tutor_lib.predict.sampling import Sampler


@runtime_checkable
class LanguageModel(Protocol):
    """What the loop needs of a model; `tutor_lib.model.decoder.Decoder` is one."""

    def __call__(
        self, ids: Int[Tensor, "B T"], caches: list[KVCache] | None = None
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`, which continue what `caches` hold."""

    def new_caches(self, batch: int, capacity: int | None = None) -> list[KVCache]:
        """An empty cache for each layer."""


def generate(
    model: LanguageModel,
    prompt: Int[Tensor, "B T"],
    max_new_tokens: int,
    sampler: Sampler | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Int[Tensor, "B"]]:
    """Yield the next token of each row, `max_new_tokens` times, as each is made.

    Prefill runs the whole prompt in one pass and fills the cache; each later pass runs one
    token. The last token is not run through the model, so T + max_new_tokens - 1 positions
    must fit the context.

    Raises ValueError if the prompt is empty, `max_new_tokens` < 1, or the context too short.
    """
    batch, length = prompt.shape
    if length == 0:
        raise ValueError("the prompt is empty: begin with at least one token")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
    caches = model.new_caches(batch, capacity=length + max_new_tokens - 1)
    return _decode(model, prompt, caches, max_new_tokens, sampler or Sampler(), generator)


def _decode(
    model: LanguageModel,
    ids: Int[Tensor, "B T"],
    caches: list[KVCache],
    max_new_tokens: int,
    sampler: Sampler,
    generator: torch.Generator | None,
) -> Iterator[Int[Tensor, "B"]]:
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(ids, caches)[:, -1]  # (B, V)
        token = sampler(logits, generator)
        yield token
        ids = token[:, None]  # (B, 1)
