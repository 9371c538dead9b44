"""Prefill and decode step, as students get them wrong: what they share."""

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw, seeded
from tutor_lib.checks.kv_cache.cache import Reference as KVCache
from tutor_lib.checks.kv_cache.cache import kv_cache
from tutor_lib.checks.kv_cache.toys import toy

WELCOME = ("tutor_lib.checks.kv_cache.model", "tutor_lib.model.config")


def empty(model: Any, ids: Tensor, capacity: int) -> list[Any]:
    """An empty cache for each layer, where `ids` are and as exact as the model."""
    config, dtype = model.config, model.decoder.embedding.weight.dtype
    sizes = (ids.size(0), config.n_kv_heads, capacity, config.head_size)
    return [_Counted(*sizes, dtype, ids.device) for _ in range(config.n_layers)]


class _Counted(KVCache):
    """A cache that counts its updates: one a pass through the model."""

    updates = 0

    def update(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        self.updates += 1
        return super().update(k, v)


def _positions(ids: Tensor, start: int) -> Tensor:
    return torch.arange(start, start + ids.size(1), device=ids.device)


def _mask(ids: Tensor, start: int) -> Tensor:
    """The last T rows of a causal mask, (T, S)."""
    everywhere = torch.ones(ids.size(1), start + ids.size(1), dtype=torch.bool, device=ids.device)
    return everywhere.tril(start)


def _reference(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    start = caches[0].length
    return model(ids, _positions(ids, start), _mask(ids, start), caches)[:, -1]


def filled(seed: int, kind: str, ids: Tensor, room: int) -> tuple[Any, list[Any]]:
    """The decoder that `toy` draws from this seed, and its caches, which hold `ids` already."""
    model = toy(seeded(seed), kind)
    caches = empty(model, ids, room)
    if ids.numel():
        _reference(model, ids, caches)
    return model, caches


def continued(
    student: Any, seed: int, kind: str, ids: Tensor, before: int
) -> tuple[Any, list[int]]:
    """The logits after `ids`, the first of which the caches hold, and the lengths of the caches.

    For hidden tests; runs beside the answer.
    """
    model, caches = filled(seed, kind, ids[:, :before], 2 * ids.size(1))
    logits = student(model, ids[:, before:], caches)
    return logits, [cache.length for cache in caches]


# --- the parts ---------------------------------------------------------------------------------


def _prompts(draw: Draw) -> list[Arguments]:
    return [
        (toy(draw, "llama"), draw.ids(31, 1, 3)),  # model, ids (B, T)
        (toy(draw, "gpt2"), draw.ids(31, 2, 5)),
        (toy(draw, "deep").double(), draw.ids(31, 3, 7)),
        (toy(draw, "llama"), draw.ids(31, 2, 1)),
    ]


def _fills(student: Any, model: Any, ids: Tensor) -> Any:
    caches = empty(model, ids, ids.size(1) + 5)
    logits = student(model, ids, caches)
    return logits, caches[0].length, caches[0].updates


def _turns(draw: Draw) -> list[Arguments]:
    return [
        (toy(draw, "llama"), draw.ids(31, 1, 5), 2),  # 2 tokens are in the caches already
        (toy(draw, "gpt2"), draw.ids(31, 2, 11), 5),
        (toy(draw, "deep").double(), draw.ids(31, 3, 7), 3),
    ]


def _goes_on(student: Any, model: Any, ids: Tensor, before: int) -> Any:
    caches = empty(model, ids, ids.size(1) + 5)
    _reference(model, ids[:, :before], caches)
    earlier = caches[0].updates
    logits = student(model, ids[:, before:].contiguous(), caches)
    return logits, caches[0].length, caches[0].updates - earlier


RESULTS = (
    "the logits",
    "the length of the caches afterwards",
    "the number of passes through the model",
)
prefill = Exercise("prefill", _reference, uses=(kv_cache,), welcome=WELCOME, learns=False)
prefill.part("prefill", 2, _prompts, _fills, RESULTS)
prefill.part("prefill_continued", 1, _turns, _goes_on, RESULTS)


@prefill.misconception
def one_by_one(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """The logits are right, but you run the tokens one by one. Prefill is ONE pass: hand all T of
    them over at once, with a mask of T rows."""
    for token in ids.split(1, dim=1):
        logits = _reference(model, token, caches)
    return logits


@prefill.misconception
def first_position(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You return the logits of the first position. What follows the prompt stands at the last."""
    start = caches[0].length
    return model(ids, _positions(ids, start), _mask(ids, start), caches)[:, 0]


@prefill.misconception
def all_positions(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You return the logits of all positions, (B, T, V). Only the last position's are asked for,
    (B, V): the others guess at tokens that are there already."""
    start = caches[0].length
    return model(ids, _positions(ids, start), _mask(ids, start), caches)


@prefill.misconception
def axis_kept(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You keep the axis of the positions: (B, 1, V). Take the last position with an index, not with
    a slice, and (B, V) comes out."""
    start = caches[0].length
    return model(ids, _positions(ids, start), _mask(ids, start), caches)[:, -1:]


@prefill.misconception
def last_text(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You return the logits of the last text of the batch, (T, V). The batch is axis 0, the
    positions are axis 1: keep all texts, and take the last position."""
    start = caches[0].length
    return model(ids, _positions(ids, start), _mask(ids, start), caches)[-1]


@prefill.misconception
def chosen(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You return tokens, chosen already. Return the logits; whoever calls prefill chooses."""
    return _reference(model, ids, caches).argmax(-1)


@prefill.misconception
def probabilities(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You return probabilities: your result has gone through softmax. Return the logits."""
    return _reference(model, ids, caches).softmax(-1)


@prefill.misconception
def without_caches(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You do not hand the caches to the model. The logits are right for a prompt, but nothing is
    kept, and the next token would have nothing to look at."""
    return model(ids, _positions(ids, 0), _mask(ids, 0))[:, -1]


@prefill.misconception
def without_mask(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """Your tokens look ahead: the mask shows every token all others. Each may see itself and what
    came before it."""
    start = caches[0].length
    everything = torch.ones_like(_mask(ids, start))
    return model(ids, _positions(ids, start), everything, caches)[:, -1]


@prefill.misconception
def mask_transposed(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """Your mask is transposed: each token sees itself and what comes after it. Rows are queries,
    columns are keys."""
    start = caches[0].length
    mask = torch.ones_like(_mask(ids, start)).triu(start)
    return model(ids, _positions(ids, start), mask, caches)[:, -1]


@prefill.misconception
def without_itself(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """Your mask hides each token from itself. A query may look at its own position too."""
    start = caches[0].length
    return model(ids, _positions(ids, start), _mask(ids, start).tril(start - 1), caches)[:, -1]


@prefill.misconception
def all_at_one_position(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You tell the model that all tokens stand at one and the same position, so that it cannot know
    their order. Each has a position of its own, one after the other."""
    start = caches[0].length
    positions = torch.full_like(_positions(ids, start), start)
    return model(ids, positions, _mask(ids, start), caches)[:, -1]


@prefill.misconception
def positions_from_one(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """Your positions are one too high. The first token of a text stands at position 0, and a text
    that goes on after S tokens goes on at position S."""
    start = caches[0].length
    return model(ids, _positions(ids, start + 1), _mask(ids, start), caches)[:, -1]


@prefill.misconception
def last_left_out(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You leave out the prompt's last token. All of the prompt goes through the model; its last
    position is what tells the next token."""
    start, ids = caches[0].length, ids[:, :-1]
    return model(ids, _positions(ids, start), _mask(ids, start), caches)[:, -1]


@prefill.misconception
def last_fed_twice(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You run the prompt's last token a second time, so that the caches hold it twice. The pass
    over the prompt gives the logits already."""
    _reference(model, ids, caches)
    return _reference(model, ids[:, -1:], caches)


@prefill.misconception
def starts_at_zero(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You count the positions from 0 although the caches hold tokens already. Where they end, the
    new ones go on."""
    return model(ids, _positions(ids, 0), _mask(ids, caches[0].length), caches)[:, -1]


@prefill.misconception
def square_mask(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """Your mask has a column for each new token, and none for what the caches hold already. It
    needs T rows and S columns, S being the length of the caches after this pass."""
    return model(ids, _positions(ids, caches[0].length), _mask(ids, 0), caches)[:, -1]


@prefill.misconception
def triangle_at_the_left(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """The triangle of your mask begins at the left edge, so that the new tokens do not see what the
    caches hold. They are the LAST T of S positions: the first of them sees S − T + 1 keys."""
    start = caches[0].length
    return model(ids, _positions(ids, start), _mask(ids, start).tril(), caches)[:, -1]


@prefill.misconception
def forgets_what_was(model: Any, ids: Tensor, caches: list[Any]) -> Tensor:
    """You empty the caches first, and lose what they hold. Go on where they end."""
    for cache in caches:
        cache.crop(0)
    return _reference(model, ids, caches)
