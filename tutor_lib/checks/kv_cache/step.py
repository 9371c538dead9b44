"""The decode step, as students get it wrong."""

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.kv_cache.cache import kv_cache
from tutor_lib.checks.kv_cache.passes import WELCOME, empty, filled
from tutor_lib.checks.kv_cache.passes import prefill as prefill_exercise
from tutor_lib.checks.kv_cache.toys import toy


def _run(model: Any, token: Tensor, caches: list[Any], position: int) -> Tensor:
    """Logits after `token`, (B,), which stands at `position` and sees everything."""
    positions = torch.tensor([position], device=token.device)
    mask = torch.ones(1, caches[0].length + 1, dtype=torch.bool, device=token.device)
    return model(token[:, None], positions, mask, caches)[:, -1]


def _reference(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    return _run(model, token, caches, caches[0].length)


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (toy(draw, "llama"), draw.ids(31, 1, 3), draw.ids(31, 1, 2)),  # model, prompt, next ones
        (toy(draw, "gpt2"), draw.ids(31, 2, 5), draw.ids(31, 2, 2)),
        (toy(draw, "deep").double(), draw.ids(31, 3, 7), draw.ids(31, 3, 2)),
        (toy(draw, "llama"), draw.ids(31, 5, 2), draw.ids(31, 5, 2)),
    ]


def _steps(student: Any, model: Any, prompt: Tensor, following: Tensor) -> Any:
    """The logits of two steps after a prompt that the caches hold."""
    caches = empty(model, prompt, prompt.size(1) + 7)
    prefill_exercise.reference(model, prompt, caches)
    first = student(model, following[:, 0], caches)
    second = student(model, following[:, 1], caches)
    return first, second, caches[0].length


def stepped(
    student: Any, seed: int, kind: str, ids: Tensor, before: int
) -> list[tuple[Any, list[int]]]:
    """The logits after each of `ids` but the first, which the caches hold; and their lengths.

    For hidden tests; runs beside the answer.
    """
    model, caches = filled(seed, kind, ids[:, :before], 2 * ids.size(1))
    return [
        (student(model, token, caches), [cache.length for cache in caches])
        for token in ids[:, before:].unbind(1)
    ]


decode_step = Exercise(
    "decode_step", _reference, uses=(kv_cache, prefill_exercise), welcome=WELCOME, learns=False
)
decode_step.part(
    "decode_step", 1, _cases, _steps,
    ("the logits of the first step", "the logits of the second step", "the length of the caches"),
)  # fmt: skip


@decode_step.misconception
def position_zero(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You tell the model that the new token stands at position 0. It stands behind all that the
    caches hold."""
    return _run(model, token, caches, 0)


@decode_step.misconception
def position_too_low(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """Your position is one too low: the last token's. Positions count from 0, so that a token after
    S others stands at position S."""
    return _run(model, token, caches, max(0, caches[0].length - 1))


@decode_step.misconception
def position_too_high(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """Your position is one too high, which leaves a gap. Positions count from 0, so that a token
    after S others stands at position S."""
    return _run(model, token, caches, caches[0].length + 1)


@decode_step.misconception
def without_caches(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You do not hand the caches to the model, so that the token sees nothing but itself."""
    positions = torch.tensor([caches[0].length], device=token.device)
    mask = torch.ones(1, 1, dtype=torch.bool, device=token.device)
    return model(token[:, None], positions, mask)[:, -1]


@decode_step.misconception
def sees_itself_alone(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """Your mask has one column, for the new token alone. It needs one for each key: S columns,
    those in the caches and the new one."""
    positions = torch.tensor([caches[0].length], device=token.device)
    mask = torch.ones(1, 1, dtype=torch.bool, device=token.device)
    return model(token[:, None], positions, mask, caches)[:, -1]


@decode_step.misconception
def no_column_for_itself(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """Your mask has a column for each token in the caches, and none for the new one. It sees itself
    too."""
    positions = torch.tensor([caches[0].length], device=token.device)
    mask = torch.ones(1, caches[0].length, dtype=torch.bool, device=token.device)
    return model(token[:, None], positions, mask, caches)[:, -1]


@decode_step.misconception
def square_mask(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """Your mask is a square, (S, S). There is one query now, the new token: it needs one row, with
    S columns."""
    length = caches[0].length + 1
    positions = torch.tensor([length - 1], device=token.device)
    mask = torch.ones(length, length, dtype=torch.bool, device=token.device).tril()
    return model(token[:, None], positions, mask, caches)[:, -1]


@decode_step.misconception
def hides_itself(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """Your mask hides the new token from itself. It sees all that came before, and itself."""
    positions = torch.tensor([caches[0].length], device=token.device)
    mask = torch.ones(1, caches[0].length + 1, dtype=torch.bool, device=token.device)
    mask[:, -1] = False
    return model(token[:, None], positions, mask, caches)[:, -1]


@decode_step.misconception
def sees_the_first_alone(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """Your mask shows the new token nothing but the first key: it is the first row of a triangle.
    The new token is the last of S positions, and sees all."""
    positions = torch.tensor([caches[0].length], device=token.device)
    mask = torch.ones(1, caches[0].length + 1, dtype=torch.bool, device=token.device).tril()
    return model(token[:, None], positions, mask, caches)[:, -1]


@decode_step.misconception
def batch_as_text(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You hand the batch over as one text of B tokens, (1, B). Each row is a text of its own, with
    one new token: (B, 1)."""
    positions = torch.tensor([caches[0].length], device=token.device)
    mask = torch.ones(1, caches[0].length + 1, dtype=torch.bool, device=token.device)
    return model(token[None], positions, mask, caches)[:, -1]


@decode_step.misconception
def without_axis(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You hand the tokens over as (B,). The model reads (B, T): give each row an axis for its one
    token."""
    positions = torch.tensor([caches[0].length], device=token.device)
    mask = torch.ones(1, caches[0].length + 1, dtype=torch.bool, device=token.device)
    return model(token, positions, mask, caches)[:, -1]


@decode_step.misconception
def axis_kept(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You keep the axis of the positions: (B, 1, V). Take its only entry, and (B, V) comes out."""
    return _reference(model, token, caches)[:, None]


@decode_step.misconception
def chosen(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You return tokens, chosen already. Return the logits; whoever calls decode_step chooses."""
    return _reference(model, token, caches).argmax(-1)


@decode_step.misconception
def probabilities(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You return probabilities: your result has gone through softmax. Return the logits."""
    return _reference(model, token, caches).softmax(-1)


@decode_step.misconception
def run_twice(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You run the token through the model twice, so that the caches hold it twice."""
    _reference(model, token, caches)
    return _reference(model, token, caches)


@decode_step.misconception
def forgets_the_past(model: Any, token: Tensor, caches: list[Any]) -> Tensor:
    """You empty the caches first, so that the token sees nothing but itself. They hold the text so
    far: go on where they end."""
    for cache in caches:
        cache.crop(0)
    return _reference(model, token, caches)
