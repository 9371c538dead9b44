"""Beam search: keep the few most probable beginnings instead of one."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tutor_lib.device import widened
from tutor_lib.predict.generate import LanguageModel, new_caches


@dataclass(frozen=True)
class Hypothesis:
    """A finished continuation: its tokens, with the stop token if it made one, and its score."""

    tokens: Int[Tensor, "N"]
    score: float


@dataclass(frozen=True)
class _Beams:
    """Beginnings, the most probable first, and which beginning before it each continues."""

    tokens: Int[Tensor, "n N"]
    log_p: Float[Tensor, "n"]
    rows: Int[Tensor, "n"]

    def take(self, which: Int[Tensor, "m"] | Bool[Tensor, "n"]) -> "_Beams":
        return _Beams(self.tokens[which], self.log_p[which], self.rows[which])


def beam_search(
    model: LanguageModel,
    prompt: Int[Tensor, "1 T"],
    max_new_tokens: int,
    num_beams: int,
    length_penalty: float = 1.0,
    stop_token: int | None = None,
) -> list[Hypothesis]:
    """The `num_beams` best continuations that the search meets, best first; all, if fewer.

    At each step the most probable `num_beams` beginnings go on, of all that continue those
    kept before by one token: Sutskever et al. 2014, §3.2 (arXiv:1409.3215). One that makes
    `stop_token` is finished. n tokens score log P / n^λ, λ = `length_penalty`: 0 prefers short
    texts, 1 takes the mean. Wu et al. 2016, §7 (arXiv:1609.08144) have (5 + n) / 6 for n.

    Takes one prompt. Raises ValueError if there are more, if it is empty, if `num_beams` or
    `max_new_tokens` < 1, if λ is not finite, `stop_token` outside the vocabulary, or the
    context too short.
    """
    if prompt.size(0) != 1:
        raise ValueError(f"beam search takes one prompt, got {prompt.size(0)}")
    if num_beams < 1:
        raise ValueError(f"num_beams must be at least 1, got {num_beams}")
    if not math.isfinite(length_penalty):
        raise ValueError(f"length_penalty must be finite, got {length_penalty}")
    caches, ids = new_caches(model, prompt, max_new_tokens), prompt
    beams = _Beams(prompt[:, :0], torch.zeros(1, device=prompt.device), prompt[:, 0])
    finished: list[Hypothesis] = []
    for length in range(1, max_new_tokens + 1):
        with torch.no_grad():
            logits = model(ids, caches)[:, -1]  # (n, V)
        # Twice as many as are kept: should the better half end here, the other goes on.
        found = _extend(beams, logits, 2 * num_beams)
        ended = _ends(found, stop_token, logits.size(-1)) | (length == max_new_tokens)
        finished += _finish(found.take(ended[:num_beams].nonzero()[:, 0]), length_penalty)
        finished = sorted(finished, key=lambda h: -h.score)[:num_beams]
        beams = found.take((~ended).nonzero()[:num_beams, 0])
        if _settled(beams, finished, num_beams, max_new_tokens, length_penalty):
            break
        for cache in caches:
            cache.reorder(beams.rows)  # after prefill this turns one row into many
        ids = beams.tokens[:, -1:]
    return finished


def _extend(beams: _Beams, logits: Float[Tensor, "n V"], count: int) -> _Beams:
    """The most probable continuations by one token, those that are possible at all."""
    log_p = (beams.log_p[:, None] + widened(logits).log_softmax(dim=-1)).flatten()  # (n · V,)
    log_p, order = log_p.topk(min(count, log_p.numel()))
    rows, tokens = order // logits.size(-1), order % logits.size(-1)
    found = _Beams(torch.cat((beams.tokens[rows], tokens[:, None]), dim=1), log_p, rows)
    return found.take(log_p > float("-inf"))


def _ends(found: _Beams, stop_token: int | None, vocab_size: int) -> Bool[Tensor, "n"]:
    if stop_token is None:
        return torch.zeros_like(found.rows, dtype=torch.bool)
    if not 0 <= stop_token < vocab_size:
        raise ValueError(f"stop_token {stop_token} is outside 0…{vocab_size - 1}")
    return found.tokens[:, -1] == stop_token


def _finish(found: _Beams, length_penalty: float) -> list[Hypothesis]:
    divisor = found.tokens.size(1) ** length_penalty
    pairs = zip(found.tokens, found.log_p.tolist(), strict=True)
    return [Hypothesis(tokens, log_p / divisor) for tokens, log_p in pairs]


def _settled(
    beams: _Beams, finished: list[Hypothesis], count: int, longest: int, length_penalty: float
) -> bool:
    """Whether nothing that goes on can still score higher than the worst that has finished.

    log P only falls. Divided by n^λ it does so least at the greatest length if λ > 0, at the
    next one if not. (Hugging Face calls this bound early_stopping="never".)
    """
    if not len(beams.rows):
        return True
    length = longest if length_penalty > 0 else beams.tokens.size(1) + 1
    reachable = float(beams.log_p[0]) / length**length_penalty
    return len(finished) == count and reachable <= finished[-1].score
