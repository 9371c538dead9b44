"""Scaled dot-product attention, as students get it wrong."""

import math

import torch
from torch import Tensor

from tutor_lib.checks.attention.scores import attention_scores
from tutor_lib.checks.attention.softmax import softmax
from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw

Pair = tuple[Tensor, Tensor]


def _plain_cases(draw: Draw) -> list[Arguments]:
    return [
        (draw(5, 11), draw(7, 11), draw(7, 3)),  # (T, D), (S, D), (S, Dv)
        (draw(2, 3, 5, 11), draw(2, 3, 7, 11), draw(2, 3, 7, 13)),
        (draw(7, 5).double(), draw(7, 5).double(), draw(7, 5).double()),  # T = S and D = Dv
        (draw(1, 3), draw(11, 3), draw(11, 2)),
    ]


def _masked_cases(draw: Draw) -> list[Arguments]:
    causal = torch.ones(7, 7, dtype=torch.bool).tril()
    return [
        (draw(5, 11), draw(7, 11), draw(7, 3), draw.mask(5, 7)),
        (draw(2, 3, 5, 11), draw(2, 3, 7, 11), draw(2, 3, 7, 13), draw.mask(5, 7)),
        (draw(2, 3, 5, 11), draw(2, 3, 7, 11), draw(2, 3, 7, 13), draw.mask(2, 1, 5, 7)),
        (draw(7, 5), draw(7, 5), draw(7, 5), causal),  # T = S and D = Dv: mix-ups still multiply
        (draw(7, 5).double(), draw(7, 5).double(), draw(7, 5).double(), causal),
    ]


def _scores(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT / math.sqrt(q.size(-1))


def _hide(scores: Tensor, mask: Tensor | None, value: float = float("-inf")) -> Tensor:
    return scores if mask is None else scores.masked_fill(~mask, value)


def _weights(q: Tensor, k: Tensor, mask: Tensor | None) -> Tensor:
    return torch.softmax(_hide(_scores(q, k), mask), -1)


def _reference(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    weights = _weights(q, k, mask)
    return weights @ v, weights


def _rows(result: Pair, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> str | None:
    total = result[1].sum(-1)
    if torch.allclose(total, torch.ones_like(total), atol=1e-3):
        return None
    return f"Each row of the weights sums to 1; your first row sums to {total.flatten()[0]:.4g}."


RESULTS = ("the output", "the weight matrix")
attention = Exercise(
    "attention",
    _reference,
    uses=(softmax, attention_scores),
    finished=("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward"),
)
attention.part("attention", 2, _plain_cases, results=RESULTS, laws=(_rows,))
attention.part("attention_mask", 2, _masked_cases, results=RESULTS, laws=(_rows,))


@attention.misconception
def without_scale(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your weights equal what you get without dividing by √D. Does attention_scores pass, and do
    you use it? See 'Why √D' in the attention chapter."""
    weights = torch.softmax(_hide(q @ k.mT, mask), -1)
    return weights @ v, weights


@attention.misconception
def divided_by_d(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your weights equal what you get when dividing by D instead of √D. See 'Why √D' in the
    attention chapter."""
    weights = torch.softmax(_hide(q @ k.mT / q.size(-1), mask), -1)
    return weights @ v, weights


@attention.misconception
def mask_ignored(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your result is right without a mask, and stays the same with one: the mask is not used.
    (masked_fill returns a new tensor; masked_fill_ changes the one it is called on.)"""
    return _reference(q, k, v)


@attention.misconception
def mask_inverted(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """You hide what may be seen and show what must be hidden. The mask is True where a query MAY
    look; masked_fill fills where it is given True."""
    return _reference(q, k, v, None if mask is None else ~mask)


@attention.misconception
def mask_after_softmax(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """You set weights to 0 after softmax, so that the rows no longer sum to 1. Hide the scores
    before softmax, with a value that exp turns into 0."""
    weights = _weights(q, k, None)
    weights = weights if mask is None else weights * mask
    return weights @ v, weights


@attention.misconception
def infinity_after_softmax(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """You put −∞ among the weights, after softmax. It belongs among the scores, before softmax,
    which then turns it into 0."""
    weights = _hide(_weights(q, k, None), mask)
    return weights @ v, weights


@attention.misconception
def masked_with_zero(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """You give hidden keys the score 0. But exp(0) is 1, so they still get weight. Which score
    does exp turn into 0?"""
    weights = torch.softmax(_hide(_scores(q, k), mask, 0.0), -1)
    return weights @ v, weights


@attention.misconception
def mask_added(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """You add the mask to the scores: True counts as 1, so keys in sight get a bonus of 1 and the
    others are not hidden. Hidden keys need the score −∞."""
    scores = _scores(q, k)
    weights = torch.softmax(scores if mask is None else scores + mask, -1)
    return weights @ v, weights


@attention.misconception
def always_causal(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """You apply the causal mask always. Use the mask that is given, and none if it is None."""
    causal = torch.ones(q.size(-2), k.size(-2), dtype=torch.bool).tril()
    return _reference(q, k, v, causal)


@attention.misconception
def softmax_over_queries(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your columns sum to 1, not your rows: softmax runs over the queries. Each query spreads its
    attention over the keys, which are the last axis."""
    weights = torch.softmax(_hide(_scores(q, k), mask), -2)
    return weights @ v, weights


@attention.misconception
def softmax_over_all(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your weights sum to 1 over all queries together. Each query has a softmax of its own, over
    the keys: the last axis."""
    scores = _hide(_scores(q, k), mask)
    weights = torch.softmax(scores.flatten(-2), -1).reshape(scores.shape)
    return weights @ v, weights


@attention.misconception
def without_softmax(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your weights are the scores: softmax is missing, so nothing makes them positive and sum
    to 1."""
    scores = _hide(_scores(q, k), mask)
    return scores @ v, scores


@attention.misconception
def returns_scores(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your output is right, but the second thing you return is the scores, from before softmax.
    Return the weights that you multiplied v by."""
    return _reference(q, k, v, mask)[0], _hide(_scores(q, k), mask)


@attention.misconception
def returns_unmasked_scores(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your output is right, but the second thing you return is the scores, from before mask and
    softmax. Return the weights that you multiplied v by."""
    return _reference(q, k, v, mask)[0], _scores(q, k)


@attention.misconception
def only_output(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Your output is right, but it comes alone. Return two things: the output, then the weights."""
    return _reference(q, k, v, mask)[0]


@attention.misconception
def only_weights(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Your weights are right, but they come alone. Mix the values with them, and return two
    things: the output, then the weights."""
    return _weights(q, k, mask)


@attention.misconception
def exchanged(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Both results are right, in the wrong order. Return the output first, then the weights."""
    weights = _weights(q, k, mask)
    return weights, weights @ v


@attention.misconception
def mixes_queries(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your weights are right, but you mix the queries with them. The queries ask; what is mixed
    is the values, v."""
    weights = _weights(q, k, mask)
    return weights @ q, weights


@attention.misconception
def mixes_keys(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your weights are right, but you mix the keys with them. Keys are for matching; what is
    mixed is the values, v."""
    weights = _weights(q, k, mask)
    return weights @ k, weights


@attention.misconception
def weights_transposed(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Pair:
    """Your weights are right, but you multiply v by their transpose. Row t of the weights says
    how much query t takes from each value."""
    weights = _weights(q, k, mask)
    return weights.mT @ v, weights
