"""Generation without a cache, as students get it wrong."""

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.kv_cache.toys import clear_toy


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (*clear_toy(draw, "llama", 1, 3, 2), 2),  # model, prompt (B, T), new tokens
        (*clear_toy(draw, "gpt2", 2, 5, 5), 5),
        (*clear_toy(draw, "deep", 3, 2, 3), 3),
        (*clear_toy(draw, "llama", 2, 1, 3), 3),
    ]


def _positions(ids: Tensor) -> Tensor:
    return torch.arange(ids.size(1), device=ids.device)


def _mask(ids: Tensor) -> Tensor:
    length = ids.size(1)
    return torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()


def _best(model: Any, ids: Tensor) -> Tensor:
    """The likeliest next token of each row, (B, 1)."""
    return model(ids, _positions(ids), _mask(ids))[:, -1].argmax(-1, keepdim=True)


def _reference(model: Any, prompt: Tensor, n: int) -> Tensor:
    ids = prompt
    for _ in range(n):
        ids = torch.cat((ids, _best(model, ids)), dim=1)
    return ids


def _starts(result: Tensor, model: Any, prompt: Tensor, n: int) -> str | None:
    if torch.equal(result[:, : prompt.size(1)].to(prompt), prompt):
        return None
    return "Your result does not begin with the prompt."


generate_uncached = Exercise(
    "generate_uncached",
    _reference,
    welcome=("tutor_lib.checks.kv_cache.model", "tutor_lib.model.config"),
    learns=False,
)
generate_uncached.part("generate_uncached", 2, _cases, laws=(_starts,))


@generate_uncached.misconception
def only_new(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You return the new tokens alone. Return the whole text: the prompt, then the new tokens."""
    return _reference(model, prompt, n)[:, prompt.size(1) :]


@generate_uncached.misconception
def one_too_many(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You make one token too many. Count: n new tokens are n passes and n choices."""
    return _reference(model, prompt, n + 1)


@generate_uncached.misconception
def one_too_few(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You make one token too few. Count: n new tokens are n passes and n choices."""
    return _reference(model, prompt, n - 1)


@generate_uncached.misconception
def n_in_all(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your text has n tokens in all. n is the number of new ones, beside the prompt's."""
    return _reference(model, prompt, max(0, n - prompt.size(1)))


@generate_uncached.misconception
def first_position(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You choose by the logits of the first position, which say what follows the first token. What
    follows the whole text stands at the last position."""
    ids = prompt
    for _ in range(n):
        best = model(ids, _positions(ids), _mask(ids))[:, 0].argmax(-1, keepdim=True)
        ids = torch.cat((ids, best), dim=1)
    return ids


@generate_uncached.misconception
def every_position(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You append the best token of every position. Only the last position's is new; the others are
    guesses at tokens that are there already."""
    ids = prompt
    for _ in range(n):
        ids = torch.cat((ids, model(ids, _positions(ids), _mask(ids)).argmax(-1)), dim=1)
    return ids


@generate_uncached.misconception
def same_for_all_rows(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your argmax runs over the whole batch, so that one number comes out for all texts. Each row
    of the batch is a text of its own: take the argmax over the vocabulary, the last axis."""
    ids = prompt
    for _ in range(n):
        logits = model(ids, _positions(ids), _mask(ids))[:, -1]
        ids = torch.cat((ids, logits.argmax().expand(ids.size(0), 1)), dim=1)
    return ids


@generate_uncached.misconception
def least_likely(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You choose the least likely token. The largest logit is the likeliest."""
    ids = prompt
    for _ in range(n):
        worst = model(ids, _positions(ids), _mask(ids))[:, -1].argmin(-1, keepdim=True)
        ids = torch.cat((ids, worst), dim=1)
    return ids


@generate_uncached.misconception
def without_mask(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your tokens look ahead: the mask shows every token all others. The model was trained with a
    causal mask, in which a query sees its own position and those before."""
    ids = prompt
    for _ in range(n):
        all_seen = torch.ones_like(_mask(ids))
        best = model(ids, _positions(ids), all_seen)[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat((ids, best), dim=1)
    return ids


@generate_uncached.misconception
def mask_transposed(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your mask is transposed: each token sees itself and what comes after it. Rows are queries,
    columns are keys; keep the lower triangle."""
    ids = prompt
    for _ in range(n):
        best = model(ids, _positions(ids), _mask(ids).T)[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat((ids, best), dim=1)
    return ids


@generate_uncached.misconception
def last_token_only(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You run the newest token alone through the model. Without a cache, nothing of the text is
    remembered from pass to pass: run all of it, each time."""
    ids = _reference(model, prompt, 1)
    for _ in range(n - 1):
        ids = torch.cat((ids, _best(model, ids[:, -1:])), dim=1)
    return ids


@generate_uncached.misconception
def prompt_again_and_again(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You run the prompt each time, and get the same token each time. The text grows: run the
    prompt with all new tokens so far."""
    ids = prompt
    for _ in range(n):
        ids = torch.cat((ids, _best(model, prompt)), dim=1)
    return ids


@generate_uncached.misconception
def positions_of_the_prompt(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You make the positions once, for the prompt. The text grows by a token in each pass, and so
    do its positions, 0 … length − 1, and its mask."""
    ids, positions = prompt, _positions(prompt)
    for _ in range(n):
        best = model(ids, positions, _mask(ids))[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat((ids, best), dim=1)
    return ids


@generate_uncached.misconception
def positions_from_one(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your positions begin at 1. The first token stands at position 0."""
    ids = prompt
    for _ in range(n):
        best = model(ids, _positions(ids) + 1, _mask(ids))[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat((ids, best), dim=1)
    return ids


@generate_uncached.misconception
def all_at_position_zero(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You tell the model that all tokens stand at position 0, so that it cannot know their order.
    Their positions are 0, 1, 2 and so on."""
    ids = prompt
    for _ in range(n):
        best = model(ids, 0 * _positions(ids), _mask(ids))[:, -1].argmax(-1, keepdim=True)
        ids = torch.cat((ids, best), dim=1)
    return ids
