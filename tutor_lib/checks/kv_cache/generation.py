"""Generation with a cache, as students get it wrong."""

from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.kv_cache.cache import Reference as KVCache
from tutor_lib.checks.kv_cache.cache import kv_cache
from tutor_lib.checks.kv_cache.passes import WELCOME
from tutor_lib.checks.kv_cache.passes import _reference as prefill
from tutor_lib.checks.kv_cache.passes import prefill as prefill_exercise
from tutor_lib.checks.kv_cache.step import _reference as decode_step
from tutor_lib.checks.kv_cache.step import decode_step as decode_step_exercise
from tutor_lib.checks.kv_cache.toys import clear_toy
from tutor_lib.checks.run import Complaint


def _caches(model: Any, ids: Tensor, capacity: int) -> list[Any]:
    config = model.config
    sizes = (ids.size(0), config.n_kv_heads, capacity, config.head_size)
    return [KVCache(*sizes, device=ids.device) for _ in range(config.n_layers)]


def _reference(model: Any, prompt: Tensor, n: int) -> Tensor:
    caches = _caches(model, prompt, prompt.size(1) + n - 1)
    tokens = [prefill(model, prompt, caches).argmax(-1)]
    for _ in range(n - 1):
        tokens.append(decode_step(model, tokens[-1], caches).argmax(-1))
    return torch.cat((prompt, torch.stack(tokens, dim=1)), dim=1)


# --- the parts ---------------------------------------------------------------------------------


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (*clear_toy(draw, "llama", 1, 3, 4), 4),  # model, prompt (B, T), new tokens
        (*clear_toy(draw, "gpt2", 2, 5, 5), 5),
        (*clear_toy(draw, "deep", 3, 2, 3), 3),
        (*clear_toy(draw, "llama", 2, 7, 1), 1),
    ]


def _text(student: Any, model: Any, prompt: Tensor, n: int) -> Any:
    """The text, and once more."""
    return student(model, prompt, n), student(model, prompt, n)


def _same(texts: Any, *case: Any) -> Any:
    """The text: what a first call leaves behind must not show in a second."""
    text, again = texts
    if isinstance(text, Tensor) and not torch.equal(text, again):
        raise Complaint(
            "Called a second time with the same prompt, your function gives another text. Does it "
            "choose at random, or is something left from the first call, such as its caches?"
        )
    return text


def _passed(student: Any, model: Any, prompt: Tensor, n: int) -> Any:
    before = model.tokens
    student(model, prompt, n)
    return model.tokens - before


def _starts(result: Tensor, model: Any, prompt: Tensor, n: int) -> str | None:
    if torch.equal(result[:, : prompt.size(1)].to(prompt), prompt):
        return None
    return "Your result does not begin with the prompt."


generate = Exercise(
    "generate",
    _reference,
    uses=(kv_cache, prefill_exercise, decode_step_exercise),
    welcome=WELCOME,
    learns=False,
)
generate.part("generate", 2, _cases, _text, laws=(_starts,), reading=_same)
generate.part(
    "generate_passes", 1, _cases, _passed, ("the number of tokens that went through the model",)
)


def _without_cache(model: Any, ids: Tensor, n: int) -> Tensor:
    """Run the whole text for each new token."""
    for _ in range(n):
        length = ids.size(1)
        mask = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        logits = model(ids, torch.arange(length, device=ids.device), mask)
        ids = torch.cat((ids, logits[:, -1].argmax(-1, keepdim=True)), dim=1)
    return ids


@generate.misconception
def no_cache(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your text is right, but each pass runs the whole text again, so that caches save nothing.
    Prefill the prompt once, and then run the newest token alone, into the same caches."""
    return _without_cache(model, prompt, n)


@generate.misconception
def one_pass_too_many(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your text is right, but the last new token goes through the model too, and nobody looks at
    what comes of it. n new tokens need the prefill and n − 1 steps."""
    caches = _caches(model, prompt, prompt.size(1) + n)
    text, logits = prompt, prefill(model, prompt, caches)
    for _ in range(n):
        token = logits.argmax(-1)
        text = torch.cat((text, token[:, None]), dim=1)
        logits = decode_step(model, token, caches)
    return text


@generate.misconception
def last_token_twice(model: Any, prompt: Tensor, n: int) -> Tensor:
    """After the prefill you run the prompt's last token again, so that the caches hold it twice.
    The prefill's logits choose the first new token already."""
    caches = _caches(model, prompt, prompt.size(1) + n)
    prefill(model, prompt, caches)
    text = prompt
    for _ in range(n):
        token = decode_step(model, text[:, -1], caches).argmax(-1)
        text = torch.cat((text, token[:, None]), dim=1)
    return text


@generate.misconception
def whole_text_again(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You run the whole text again into caches that hold it already, so that every token is there
    twice or more. After the prefill, run the newest token alone."""
    caches = _caches(model, prompt, 10 * (prompt.size(1) + n))
    text = prompt
    for _ in range(n):
        text = torch.cat((text, prefill(model, text, caches).argmax(-1, keepdim=True)), dim=1)
    return text


@generate.misconception
def whole_text_without_room(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You run the whole text again into caches that hold it already, until they are full. After the
    prefill, run the newest token alone."""
    caches = _caches(model, prompt, prompt.size(1) + n)
    text = prompt
    for _ in range(n):
        text = torch.cat((text, prefill(model, text, caches).argmax(-1, keepdim=True)), dim=1)
    return text


@generate.misconception
def same_token_again(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Each step runs the first new token again. Each must run the token that the step before has
    chosen."""
    caches = _caches(model, prompt, prompt.size(1) + n)
    token = prefill(model, prompt, caches).argmax(-1)
    tokens = [token]
    for _ in range(n - 1):
        tokens.append(decode_step(model, token, caches).argmax(-1))
    return torch.cat((prompt, torch.stack(tokens, dim=1)), dim=1)


@generate.misconception
def same_choice_again(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You choose by the prefill's logits again and again, and get one token n times. Choose by the
    logits of the newest step."""
    caches = _caches(model, prompt, prompt.size(1) + n)
    token = prefill(model, prompt, caches).argmax(-1, keepdim=True)
    return torch.cat((prompt, token.expand(-1, n)), dim=1)


@generate.misconception
def only_new(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You return the new tokens alone. Return the whole text: the prompt, then the new tokens."""
    return _reference(model, prompt, n)[:, prompt.size(1) :]


@generate.misconception
def prompt_twice(model: Any, prompt: Tensor, n: int) -> Tensor:
    """The prompt stands twice in your result. Once, then the new tokens."""
    return torch.cat((prompt, _reference(model, prompt, n)), dim=1)


@generate.misconception
def one_too_many(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You make one token too many. The prefill chooses one already: n − 1 steps are left."""
    return _reference(model, prompt, n + 1)


@generate.misconception
def one_too_few(model: Any, prompt: Tensor, n: int) -> Tensor:
    """You make one token too few. n new tokens are one from the prefill and n − 1 from steps."""
    return _reference(model, prompt, n)[:, :-1]


@generate.misconception
def first_lost(model: Any, prompt: Tensor, n: int) -> Tensor:
    """The first new token, which the prefill chooses, is missing in your text."""
    text = _reference(model, prompt, n + 1)
    return torch.cat((text[:, : prompt.size(1)], text[:, prompt.size(1) + 1 :]), dim=1)


@generate.misconception
def same_for_all_rows(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your argmax runs over the whole batch, so that one number comes out for all texts. Take it
    over the vocabulary, the last axis."""
    caches = _caches(model, prompt, prompt.size(1) + n)
    token = prefill(model, prompt, caches).argmax()
    return decode_step(model, token, caches)


@generate.misconception
def room_for_new_only(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your caches have room for the new tokens alone. The prompt's keys and values are kept too:
    count the prompt and the new tokens."""
    prefill(model, prompt, _caches(model, prompt, n))
    return _reference(model, prompt, n)


@generate.misconception
def room_for_prompt_only(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your caches have room for the prompt alone. The new tokens' keys and values are kept too:
    count the prompt and the new tokens."""
    caches = _caches(model, prompt, prompt.size(1))
    token = prefill(model, prompt, caches).argmax(-1)
    for _ in range(n - 1):
        token = decode_step(model, token, caches).argmax(-1)
    return torch.cat((prompt, token[:, None]), dim=1)


@generate.misconception
def one_cache_for_all(model: Any, prompt: Tensor, n: int) -> Tensor:
    """All layers share one cache. [cache] * L is one object L times, not L objects: make a new one
    for each layer."""
    caches = _caches(model, prompt, prompt.size(1) + n)[:1] * model.config.n_layers
    prefill(model, prompt, caches)
    return _reference(model, prompt, n)


@generate.misconception
def room_for_query_heads(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Your caches are made for H heads, but keys and values have K of them: several query heads
    share one. The number is config.n_kv_heads."""
    config = model.config
    sizes = (prompt.size(0), config.n_heads, prompt.size(1) + n, config.head_size)
    caches = [KVCache(*sizes, device=prompt.device) for _ in range(config.n_layers)]
    prefill(model, prompt, caches)
    return _reference(model, prompt, n)
