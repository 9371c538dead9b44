"""The generation loop: prefill the prompt once, then decode one token at a time."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.predict.sampling import Sampler


@runtime_checkable
class LanguageModel(Protocol):
    """What the loop needs of a model; `tutor_lib.model.decoder.Decoder` is one.

    Its caches are its own affair, a KV cache a layer or a recurrent state: each pass renews the
    list, or what is in it.
    """

    def __call__(
        self, ids: Int[Tensor, "B T"], caches: list[Any] | None = None
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`, which continue what `caches` hold."""

    def new_caches(self, batch: int, capacity: int | None = None) -> list[Any]:
        """An empty cache for each layer."""


def generate(
    model: LanguageModel,
    prompt: Int[Tensor, "B T"],
    max_new_tokens: int,
    sampler: Sampler | None = None,
    generator: torch.Generator | None = None,
    stop_token: int | None = None,
    padding: Int[Tensor, "B"] | None = None,
) -> Iterator[Int[Tensor, "B"]]:
    """Yield the next token of each row, up to `max_new_tokens` times, as each is made.

    Prefill runs the whole prompt in one pass and fills the cache; each later pass runs one
    token. The last token is not run through the model, so T + max_new_tokens - 1 positions
    must fit the context. A row that has made `stop_token` repeats it; when all have, it ends.
    Prompts of unequal length are filled up on the left, by `padding` ids each: see `pad_left`.

    Raises ValueError if the prompt is empty, `max_new_tokens` < 1, `stop_token` < 0, `padding`
    leaves a row empty, or the context is too short.
    """
    if stop_token is not None and stop_token < 0:
        raise ValueError(f"stop_token must not be negative, got {stop_token}")
    caches = new_caches(model, prompt, max_new_tokens)
    if padding is not None:
        if not (0 <= int(padding.min()) and int(padding.max()) < prompt.size(1)):
            raise ValueError(f"padding must lie in 0…{prompt.size(1) - 1}, got {padding.tolist()}")
        model = _Padded(model, padding)
        # Nobody looks at what fills a row up, but a penalty on repetition would count it.
        filled = torch.arange(prompt.size(1), device=prompt.device) < padding[:, None]
        prompt = torch.where(filled, prompt[:, -1:], prompt)
    tokens = _decode(model, prompt, caches, max_new_tokens, sampler or Sampler(), generator)
    return tokens if stop_token is None else _until_stopped(tokens, stop_token)


class _Padded:
    """A model that is told in every pass where the rows begin."""

    def __init__(self, model: LanguageModel, padding: Int[Tensor, "B"]) -> None:
        self.forward, self.new_caches, self.padding = model, model.new_caches, padding

    def __call__(
        self, ids: Int[Tensor, "B T"], caches: list[Any] | None = None
    ) -> Float[Tensor, "B T V"]:
        return self.forward(ids, caches, self.padding)  # type: ignore[call-arg]


def pad_left(
    texts: Sequence[Sequence[int]], fill: int = 0
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B"]]:
    """Texts of unequal length as one batch, and how many ids `fill` up each row on the left.

    On the left, so that every row's last token is the last column, where the next one comes.

    Raises ValueError if there is no text, or one is empty.
    """
    if not texts or min(map(len, texts)) == 0:
        raise ValueError(f"need texts of at least one token, got lengths {[*map(len, texts)]}")
    longest = max(map(len, texts))
    rows = [[fill] * (longest - len(text)) + list(text) for text in texts]
    return torch.tensor(rows), torch.tensor([longest - len(text) for text in texts])


def new_caches(model: LanguageModel, prompt: Int[Tensor, "B T"], max_new_tokens: int) -> list[Any]:
    """Caches with room for the prompt and all new tokens but the last.

    Raises ValueError if the prompt is empty, `max_new_tokens` < 1, or the context too short.
    """
    batch, length = prompt.shape
    if length == 0:
        raise ValueError("the prompt is empty: begin with at least one token")
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens must be at least 1, got {max_new_tokens}")
    return model.new_caches(batch, capacity=length + max_new_tokens - 1)


def _decode(
    model: LanguageModel,
    ids: Int[Tensor, "B T"],
    caches: list[Any],
    max_new_tokens: int,
    sampler: Sampler,
    generator: torch.Generator | None,
) -> Iterator[Int[Tensor, "B"]]:
    text = ids
    for _ in range(max_new_tokens):
        with torch.no_grad():
            logits = model(ids, caches)[:, -1]  # (B, V)
        token = sampler(logits, generator, text)
        yield token
        ids = token[:, None]  # (B, 1)
        if sampler.looks_back:
            text = torch.cat((text, ids), dim=1)


def _until_stopped(
    tokens: Iterator[Int[Tensor, "B"]], stop_token: int
) -> Iterator[Int[Tensor, "B"]]:
    ended = None
    for token in tokens:
        token = token if ended is None else token.masked_fill(ended, stop_token)
        ended = token == stop_token  # a row that has ended goes on making it
        yield token
        if ended.all():
            return
