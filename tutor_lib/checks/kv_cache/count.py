"""Counting the tokens that go through a model, as students get it wrong."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw
from tutor_lib.checks.kv_cache.passes import WELCOME
from tutor_lib.checks.kv_cache.toys import toy
from tutor_lib.checks.kv_cache.writers import wasteful, with_cache, without_cache
from tutor_lib.checks.run import Complaint

Write = Callable[[Any, Tensor, int], Tensor]


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (with_cache, toy(draw, "llama"), draw.ids(31, 1, 3), [2, 5]),
        (without_cache, toy(draw, "llama"), draw.ids(31, 1, 3), [2, 5]),
        (wasteful, toy(draw, "gpt2"), draw.ids(31, 1, 7), [1, 5, 2]),
        (without_cache, toy(draw, "gpt2"), draw.ids(31, 1, 1), [5]),
        (with_cache, toy(draw, "deep"), draw.ids(31, 1, 5), [3, 1, 2]),
    ]


def _reference(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    counts = []
    for n in lengths:
        before = model.tokens
        write(model, prompt, n)
        counts.append(model.tokens - before)
    return counts


def _as_array(
    student: Any, write: Write, model: Any, prompt: Tensor, lengths: list[int]
) -> np.ndarray:
    counts = student(write, model, prompt, lengths)
    if counts is None or not isinstance(counts, list | tuple):
        raise Complaint(
            f"count_tokens should return a list, with a number for each of the {len(lengths)} "
            f"lengths; yours returned {'None' if counts is None else type(counts).__name__}."
        )
    return np.array([float(count) for count in counts])


def counted(
    student: Any, costs: dict[int, int], start: int, prompt: Tensor, lengths: list[int]
) -> Any:
    """What is counted where n new tokens cost `costs[n]`, and the model has counted to `start`.

    For hidden tests; runs beside the answer.
    """
    model = SimpleNamespace(tokens=start)

    def write(model: Any, prompt: Tensor, n: int) -> Tensor:
        model.tokens += costs[n]
        return prompt

    return student(write, model, prompt, lengths)


count_tokens = Exercise(
    "count_tokens",
    _reference,
    welcome=(*WELCOME, "tutor_lib.checks.kv_cache.writers"),
    learns=False,
)
count_tokens.part("count_tokens", 1, _cases, _as_array, ("the list of counts",))


@count_tokens.misconception
def never_set_back(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    """Your counts add up from one length to the next: the model goes on counting. Set model.tokens
    to 0 before each text, or subtract what it was."""
    model.tokens, counts = 0, []
    for n in lengths:
        write(model, prompt, n)
        counts.append(model.tokens)
    return counts


@count_tokens.misconception
def new_tokens(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    """You count the tokens that are written. Asked for is how many go through the model meanwhile,
    which it counts in model.tokens."""
    return [n for n in lengths]


@count_tokens.misconception
def length_of_text(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    """You return how long the texts are. Asked for is how many tokens go through the model while
    they are written, which it counts in model.tokens."""
    return [write(model, prompt, n).size(1) for n in lengths]


@count_tokens.misconception
def without_prompt(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    """You leave out the prompt. It goes through the model too: count all tokens that do."""
    return [count - prompt.size(1) for count in _reference(write, model, prompt, lengths)]


@count_tokens.misconception
def formula_with_cache(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    """You return T + n − 1 whatever writes the text. That is what a cache should give; here it is
    to be measured: call `write`, and look at model.tokens."""
    return [prompt.size(1) + n - 1 for n in lengths]


@count_tokens.misconception
def formula_without(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    """You return n · T + n (n − 1) / 2 whatever writes the text. That is what no cache should give;
    here it is to be measured: call `write`, and look at model.tokens."""
    return [n * prompt.size(1) + n * (n - 1) // 2 for n in lengths]


@count_tokens.misconception
def last_length_only(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    """Your list has one number, for one of the lengths. There should be one for each of them: is
    the return line inside the loop, or the append behind it?"""
    return _reference(write, model, prompt, lengths)[-1:]


@count_tokens.misconception
def first_length_only(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[int]:
    """Your list has one number, for the first length. There should be one for each of them: is the
    return line inside the loop?"""
    return _reference(write, model, prompt, lengths)[:1]


@count_tokens.misconception
def per_token(write: Write, model: Any, prompt: Tensor, lengths: list[int]) -> list[float]:
    """You divide by the number of new tokens. Asked for is the whole count."""
    counts = _reference(write, model, prompt, lengths)
    return [count / n for count, n in zip(counts, lengths, strict=True)]
