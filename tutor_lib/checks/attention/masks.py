"""The causal mask, as students get it wrong."""

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw

LOOK_AHEAD = "Row 0 is the first token: it may look at itself only."


def _cases(draw: Draw) -> list[Arguments]:
    return [(5,), (2,), (11,), (1,)]


def _reference(T: int) -> Tensor:
    return torch.ones(T, T, dtype=torch.bool).tril()


def _first_row(result: Tensor, T: int) -> str | None:
    return LOOK_AHEAD if result[0].tolist() != [True] + [False] * (T - 1) else None


causal_mask = Exercise("causal_mask", _reference, finished=("generate_square_subsequent_mask",))
causal_mask.part("causal_mask", 2, _cases, laws=(_first_row,))


@causal_mask.misconception
def inverted(T: int) -> Tensor:
    """Your mask is the exact opposite: True where a query may NOT look. In this lab, as in
    PyTorch's scaled_dot_product_attention, True means 'may look'."""
    return torch.ones(T, T, dtype=torch.bool).triu(1)


@causal_mask.misconception
def upper_triangle(T: int) -> Tensor:
    """Your mask allows each token itself and all that comes AFTER it. Rows are queries, columns
    are keys: in row t, the columns up to t must be True. Did you take the other triangle, or
    exchange rows and columns?"""
    return torch.ones(T, T, dtype=torch.bool).triu()


@causal_mask.misconception
def without_diagonal(T: int) -> Tensor:
    """Your mask forbids a token to look at itself. The diagonal belongs to the mask; without it
    the first token could look nowhere, and its softmax would be 0/0."""
    return torch.ones(T, T, dtype=torch.bool).tril(-1)


@causal_mask.misconception
def one_too_far(T: int) -> Tensor:
    """Your mask lets each token see one token of the future. The model would copy the answer in
    training and know nothing in use. Look at the offset of the diagonal, or at < against ≤."""
    return torch.ones(T, T, dtype=torch.bool).tril(1)


@causal_mask.misconception
def everything(T: int) -> Tensor:
    """Your mask is True everywhere, so it masks nothing."""
    return torch.ones(T, T, dtype=torch.bool)


@causal_mask.misconception
def only_diagonal(T: int) -> Tensor:
    """Your mask is True on the diagonal alone: each token sees itself and none of its past."""
    return torch.eye(T, dtype=torch.bool)


@causal_mask.misconception
def floats(T: int) -> Tensor:
    """You have the right triangle, but of floating-point numbers. Make it a tensor of dtype bool:
    then ~mask and masked_fill work as they should."""
    return torch.ones(T, T).tril()


@causal_mask.misconception
def integers(T: int) -> Tensor:
    """You have the right triangle, but of integers, and ~1 is −2, not 0. Make it a tensor of
    dtype bool."""
    return torch.ones(T, T, dtype=torch.long).tril()


@causal_mask.misconception
def inverted_floats(T: int) -> Tensor:
    """Two things: your mask is 1 where a query may NOT look, and it holds numbers. It should be
    of dtype bool, with True where a query may look."""
    return torch.ones(T, T).triu(1)


@causal_mask.misconception
def additive(T: int) -> Tensor:
    """You made a mask to be added to the scores: 0 and −∞. That kind exists, but here the mask is
    of dtype bool, True where a query may look; attention turns it into −∞ itself."""
    return torch.full((T, T), float("-inf")).triu(1)


@causal_mask.misconception
def with_leading_axes(T: int) -> Tensor:
    """You have the right triangle, but with axes in front of it. Return shape (T, T); broadcasting
    adds batch and heads where they are needed."""
    return torch.ones(1, 1, T, T, dtype=torch.bool).tril()


@causal_mask.misconception
def vector(T: int) -> Tensor:
    """You return one row. Each of the T queries has a row of its own: shape (T, T)."""
    return torch.ones(T, dtype=torch.bool)
