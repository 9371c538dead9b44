"""Speculative decoding: a small model drafts, the large one judges all its tokens in one pass.

Exact: the tokens are distributed as if the large model had made them alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.predict.generate import LanguageModel, new_caches
from tutor_lib.predict.sampling import Sampler, draw


@dataclass(frozen=True)
class Round:
    """What one pass of the target gave: the drafted tokens it accepted, then one of its own."""

    tokens: Int[Tensor, "1 N"]
    drafted: int

    @property
    def accepted(self) -> int:
        """How many of the drafted tokens stayed."""
        return self.tokens.size(1) - 1

    @property
    def judged(self) -> int:
        """How many were looked at: nobody asks about those after a rejected one."""
        return min(self.accepted + 1, self.drafted)


def speculate(
    target: LanguageModel,
    draft: LanguageModel,
    prompt: Int[Tensor, "1 T"],
    max_new_tokens: int,
    gamma: int = 4,
    sampler: Sampler | None = None,
    generator: torch.Generator | None = None,
) -> Iterator[Round]:
    """Yield `max_new_tokens` tokens in rounds, as `sampler` would draw them from `target` alone.

    Leviathan et al. 2023, Algorithm 1 (arXiv:2211.17192); Chen et al. 2023, Algorithm 2
    (arXiv:2302.01318). The draft makes up to `gamma` tokens one by one, the target runs them
    all in one pass, and the caches forget what was rejected. The first round is the target's
    prefill alone. Takes one sequence: rows would accept unequal numbers of tokens.

    Raises ValueError if there are more, if the prompt is empty, `gamma` or `max_new_tokens` < 1,
    a context is too short, or the vocabularies differ.
    """
    if prompt.size(0) != 1:
        raise ValueError(f"speculative decoding takes one sequence, got {prompt.size(0)}")
    if gamma < 1:
        raise ValueError(f"gamma must be at least 1, got {gamma}")
    large, small = (_Reader(model, prompt, max_new_tokens) for model in (target, draft))
    end = prompt.size(1) + max_new_tokens
    return _rounds(large, small, prompt, end, gamma, sampler or Sampler(), generator)


class _Reader:
    """A model and its caches, which read of a text what they have not read yet."""

    def __init__(
        self, model: LanguageModel, prompt: Int[Tensor, "1 T"], max_new_tokens: int
    ) -> None:
        self.model, self.caches = model, new_caches(model, prompt, max_new_tokens)

    def read(self, text: Int[Tensor, "1 S"]) -> Float[Tensor, "1 N V"]:
        """Logits after each of the N tokens that are new."""
        with torch.no_grad():
            return self.model(text[:, self.caches[0].length :], self.caches)

    def forget(self, length: int) -> None:
        for cache in self.caches:
            cache.crop(min(length, cache.length))


def _rounds(
    target: _Reader,
    draft: _Reader,
    text: Int[Tensor, "1 T"],
    end: int,
    gamma: int,
    sampler: Sampler,
    generator: torch.Generator | None,
) -> Iterator[Round]:
    guessed, q = text, list[Tensor]()
    while True:
        logits = target.read(guessed)[:, -len(q) - 1 :]
        length, text = text.size(1), _judge(logits, guessed, q, sampler, generator)
        yield Round(text[:, length:], len(q))
        if text.size(1) == end:
            return
        for reader in (target, draft):
            reader.forget(text.size(1) - 1)  # the last token is the target's: nobody has read it
        n = min(gamma, end - text.size(1) - 1)
        guessed, q = _guess(draft, text, n, sampler, generator)
        if q and q[0].size(-1) != logits.size(-1):
            sizes = f"{logits.size(-1)} and {q[0].size(-1)}"
            raise ValueError(f"the vocabularies of target and draft differ: {sizes} tokens")


def _guess(
    draft: _Reader,
    text: Int[Tensor, "1 S"],
    n: int,
    sampler: Sampler,
    generator: torch.Generator | None,
) -> tuple[Int[Tensor, "1 M"], list[Float[Tensor, "1 V"]]]:
    """The text with n drafted tokens, and the distributions q that they were drawn from."""
    q: list[Tensor] = []
    for _ in range(n):
        q.append(sampler.probabilities(draft.read(text)[:, -1], text))
        text = torch.cat((text, draw(q[-1], generator)[:, None]), dim=1)
    return text, q


def _judge(
    logits: Float[Tensor, "1 N V"],
    guessed: Int[Tensor, "1 S"],
    q: list[Float[Tensor, "1 V"]],
    sampler: Sampler,
    generator: torch.Generator | None,
) -> Int[Tensor, "1 M"]:
    """The text up to the first guess that is rejected, and a token of the target's own."""
    start = guessed.size(1) - len(q)
    for i in range(len(q) + 1):
        text = guessed[:, : start + i]
        p = sampler.probabilities(logits[:, i], text)
        if i < len(q) and not accept(p, q[i], guessed[:, start + i], generator):
            p = residual(p, q[i])
            break
    return torch.cat((text, draw(p, generator)[:, None]), dim=1)


def accept(
    p: Float[Tensor, "1 V"],
    q: Float[Tensor, "1 V"],
    token: Int[Tensor, "1"],
    generator: torch.Generator | None = None,
) -> bool:
    """Keep a token drawn from q with probability min(1, p/q), so that p is what remains."""
    chance = torch.rand(1, device=p.device, generator=generator)
    return bool(chance * q[0, token] < p[0, token])


def residual(p: Float[Tensor, "1 V"], q: Float[Tensor, "1 V"]) -> Float[Tensor, "1 V"]:
    """max(0, p − q), normalised: what p has left when accepted tokens have brought min(p, q)."""
    left = (p - q).clamp(min=0)
    total = left.sum()
    return left / total if total > 0 else p  # p = q but for rounding


def acceptance_rate(rounds: Iterable[Round]) -> float:
    """α: the share of the judged tokens that were accepted.

    Not of the drafted ones: those after a rejected one say nothing about the draft.

    Raises ValueError if none was judged.
    """
    judged, accepted = 0, 0
    for r in rounds:
        judged, accepted = judged + r.judged, accepted + r.accepted
    if not judged:
        raise ValueError("no drafted token was judged in these rounds: 0 of 0 accepted")
    return accepted / judged


def expected_speedup(alpha: float, gamma: int, cost: float) -> float:
    """How many times faster than the target alone, (1 − α^(γ+1)) / ((1 − α)(γ c + 1)).

    Leviathan et al. 2023, Theorem 3.8 (arXiv:2211.17192). The tokens of a round, eq. 1, over
    its time in passes of the target: α is the chance that a drafted token is accepted, alike
    for all, and `cost` = c a pass of the draft over one of the target.

    Raises ValueError unless 0 ≤ α ≤ 1, γ ≥ 1 and 0 ≤ c < ∞.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha}")
    if gamma < 1:
        raise ValueError(f"gamma must be at least 1, got {gamma}")
    if not 0 <= cost < float("inf"):
        raise ValueError(f"cost must be finite and ≥ 0, got {cost}")
    tokens = sum(alpha**i for i in range(gamma + 1))  # the quotient, and its limit at α = 1
    return tokens / (gamma * cost + 1)
