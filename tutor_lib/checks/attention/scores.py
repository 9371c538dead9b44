"""Attention scores, as students get them wrong."""

import math

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (draw(5, 11), draw(7, 11)),  # (T, D) and (S, D)
        (draw(2, 3, 5, 11), draw(2, 3, 7, 11)),  # with batch and heads in front
        (draw(5, 7), draw(7, 7)),  # S = D: a forgotten transpose still multiplies here
        (draw(7, 5), draw(7, 5)),  # T = S: and so does a product over positions
        (draw(1, 3).double(), draw(13, 3).double()),
    ]


def _reference(q: Tensor, k: Tensor) -> Tensor:
    return q @ k.mT / math.sqrt(q.size(-1))


attention_scores = Exercise("attention_scores", _reference)
attention_scores.part("attention_scores", 2, _cases)


@attention_scores.misconception
def without_scale(q: Tensor, k: Tensor) -> Tensor:
    """Your scores equal what you get without dividing by √D. See 'Why √D' in the attention
    chapter."""
    return q @ k.mT


@attention_scores.misconception
def divided_by_d(q: Tensor, k: Tensor) -> Tensor:
    """You divide by D. Divide by its square root: a dot product of D random terms grows as √D,
    not as D. See 'Why √D' in the attention chapter."""
    return q @ k.mT / q.size(-1)


@attention_scores.misconception
def multiplied(q: Tensor, k: Tensor) -> Tensor:
    """You multiply by √D. The scores are too large already: divide."""
    return q @ k.mT * math.sqrt(q.size(-1))


@attention_scores.misconception
def divided_by_sqrt_queries(q: Tensor, k: Tensor) -> Tensor:
    """You divide by √T, the root of the number of queries. D is the size of one vector: the last
    axis of q, not the one before it."""
    return q @ k.mT / math.sqrt(q.size(-2))


@attention_scores.misconception
def divided_by_sqrt_keys(q: Tensor, k: Tensor) -> Tensor:
    """You divide by √S, the root of the number of keys. D is the size of one vector: the last
    axis of k, not the one before it."""
    return q @ k.mT / math.sqrt(k.size(-2))


@attention_scores.misconception
def divided_by_sqrt_first_axis(q: Tensor, k: Tensor) -> Tensor:
    """You divide by the root of the size of the first axis. D is the size of one vector: the last
    axis, however many are in front of it."""
    return q @ k.mT / math.sqrt(q.size(0))


@attention_scores.misconception
def not_transposed(q: Tensor, k: Tensor) -> Tensor:
    """You multiply q by k as it is. Each score is the dot product of one query and one key, so
    the last two axes of k have to change places first."""
    return q @ k / math.sqrt(q.size(-1))


@attention_scores.misconception
def not_transposed_nor_scaled(q: Tensor, k: Tensor) -> Tensor:
    """You multiply q by k as it is. Each score is the dot product of one query and one key, so
    the last two axes of k have to change places first. And then there is √D."""
    return q @ k


@attention_scores.misconception
def all_axes_reversed(q: Tensor, k: Tensor) -> Tensor:
    """k.T reverses ALL axes, also batch and heads. Exchange the last two only."""
    return q @ k.permute(*range(k.ndim - 1, -1, -1)) / math.sqrt(q.size(-1))


@attention_scores.misconception
def swapped(q: Tensor, k: Tensor) -> Tensor:
    """Your scores are transposed: q and k have changed places. Rows are queries, columns are
    keys, so the shape is (T, S)."""
    return k @ q.mT / math.sqrt(q.size(-1))


@attention_scores.misconception
def swapped_without_scale(q: Tensor, k: Tensor) -> Tensor:
    """Your scores are transposed: q and k have changed places. Rows are queries, columns are
    keys, so the shape is (T, S). The division by √D is missing too."""
    return k @ q.mT


@attention_scores.misconception
def over_positions(q: Tensor, k: Tensor) -> Tensor:
    """You sum over positions and keep the D axis. It is the other way round: a dot product sums
    over D, and leaves one number for each query and key."""
    return q.mT @ k / math.sqrt(q.size(-1))


@attention_scores.misconception
def with_softmax(q: Tensor, k: Tensor) -> Tensor:
    """Your result has gone through softmax already. Scores are the numbers before it; attention
    has to mask them first."""
    return torch.softmax(_reference(q, k), -1)


@attention_scores.misconception
def cosine(q: Tensor, k: Tensor) -> Tensor:
    """You divide by the lengths of the vectors, which gives their cosine. In attention a longer
    key is allowed to score higher: divide by √D alone."""
    return torch.nn.functional.normalize(q, dim=-1) @ torch.nn.functional.normalize(k, dim=-1).mT


@attention_scores.misconception
def elementwise(q: Tensor, k: Tensor) -> Tensor:
    """You multiply q and k number by number. A score is a dot product of one query with one key,
    for all pairs at once: a matrix product."""
    return q * k / math.sqrt(q.size(-1))
