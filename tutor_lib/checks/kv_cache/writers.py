"""Ways to write a text that a student's count is tried on."""

from typing import Any

from torch import Tensor

from tutor_lib.checks.kv_cache import generation, passes, uncached


def with_cache(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Write n tokens, each of which goes through the model once."""
    return generation.generate.reference(model, prompt, n)


def without_cache(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Write n tokens, for each of which the whole text goes through the model."""
    return uncached.generate_uncached.reference(model, prompt, n)


def wasteful(model: Any, prompt: Tensor, n: int) -> Tensor:
    """Run the prompt 2n + 1 times, which no formula expects."""
    for _ in range(2 * n + 1):
        passes.prefill.reference(model, prompt, passes.empty(model, prompt, prompt.size(1)))
    return prompt
