"""One whole head in NumPy, as students get it wrong."""

import math

import numpy as np
import torch

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw

Array = np.ndarray
Pair = tuple[Array, Array]


def _cases(draw: Draw) -> list[Arguments]:
    def case(T: int, C: int, D: int, Dv: int, dtype: torch.dtype = torch.float32) -> Arguments:
        sizes = [(T, C), (C, D), (C, D), (C, Dv)]
        x, *w = (draw(*size).to(dtype) for size in sizes)
        return (x.numpy(), *((t / math.sqrt(C)).numpy() for t in w))

    return [
        case(7, 6, 4, 2, torch.float64),  # the words, features and sizes of the exercise
        case(5, 11, 3, 7),
        case(11, 3, 13, 5),
        case(5, 5, 5, 5),  # all sizes equal: mix-ups still multiply
        case(1, 7, 2, 3),
    ]


def _project(x: Array, w_q: Array, w_k: Array, w_v: Array) -> tuple[Array, Array, Array]:
    return x @ w_q, x @ w_k, x @ w_v


def _softmax(scores: Array, axis: int | None = -1) -> Array:
    powers = np.exp(scores - scores.max(axis, keepdims=True))
    return powers / powers.sum(axis, keepdims=True)


def _scores(q: Array, k: Array) -> Array:
    return q @ k.T / math.sqrt(q.shape[-1])


def _reference(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _softmax(_scores(q, k))
    return weights @ v, weights


def _rows(result: Pair, x: Array, w_q: Array, w_k: Array, w_v: Array) -> str | None:
    total = result[1].sum(-1)
    if np.allclose(total, 1, atol=1e-3):
        return None
    return f"Each row of the weights sums to 1; your first row sums to {total.flat[0]:.4g}."


numpy_head = Exercise(
    "numpy_head",
    _reference,
    finished=("softmax", "log_softmax", "scaled_dot_product_attention", "MultiheadAttention"),
    learns=False,
)
RESULTS = ("the output", "the weight matrix")
numpy_head.part("numpy_head", 3, _cases, results=RESULTS, laws=(_rows,))


@numpy_head.misconception
def without_scale(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your weights equal what you get without dividing by √D: step 2 is a dot product, and then a
    division. See 'Why √D' in the attention chapter."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _softmax(q @ k.T)
    return weights @ v, weights


@numpy_head.misconception
def divided_by_d(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """You divide the scores by D. Divide by its square root."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _softmax(q @ k.T / q.shape[-1])
    return weights @ v, weights


@numpy_head.misconception
def divided_by_sqrt_c(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """You divide by √C, the root of the width of x. D is the size of one query: the last axis of
    q, after the projection."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _softmax(q @ k.T / math.sqrt(x.shape[-1]))
    return weights @ v, weights


@numpy_head.misconception
def divided_by_sqrt_t(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """You divide by √T, the root of the number of words: len(q) counts rows. D is the size of one
    query, the last axis of q."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _softmax(q @ k.T / math.sqrt(len(q)))
    return weights @ v, weights


@numpy_head.misconception
def sum_without_keepdims(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """You divide each COLUMN by the sum of a row. A sum along the last axis loses that axis, and
    what is left lines up with the columns. Let the sum keep its axis (keepdims)."""
    q, k, v = _project(x, w_q, w_k, w_v)
    powers = np.exp(_scores(q, k))
    weights = powers / powers.sum(-1)
    return weights @ v, weights


@numpy_head.misconception
def softmax_over_queries(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your columns sum to 1, not your rows: the sum runs over the queries. Each query shares out
    its weight of 1 over the keys, which are the last axis."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _softmax(_scores(q, k), 0)
    return weights @ v, weights


@numpy_head.misconception
def softmax_over_all(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """All your weights together sum to 1. Each row should: tell the sum which axis it runs
    along."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _softmax(_scores(q, k), None)
    return weights @ v, weights


@numpy_head.misconception
def without_softmax(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your weights are the scores themselves: step 3, softmax, is missing. Weights are positive,
    and each row sums to 1."""
    q, k, v = _project(x, w_q, w_k, w_v)
    return _scores(q, k) @ v, _scores(q, k)


@numpy_head.misconception
def without_normalising(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your weights are exp(scores), not divided by their sum. Each row must sum to 1."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = np.exp(_scores(q, k))
    return weights @ v, weights


@numpy_head.misconception
def without_exp(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """You divide the scores by their sum, but exp comes first: scores can be negative, weights
    cannot."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _scores(q, k) / _scores(q, k).sum(-1, keepdims=True)
    return weights @ v, weights


@numpy_head.misconception
def causal(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """You hide the words that come later. This first head has no mask: every word may look at
    every other. The mask comes in exercise 5."""
    q, k, v = _project(x, w_q, w_k, w_v)
    weights = _softmax(np.where(np.tri(len(x), dtype=bool), _scores(q, k), -np.inf))
    return weights @ v, weights


@numpy_head.misconception
def queries_and_keys_exchanged(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Queries and keys have changed places: your rows belong to keys. Row t is about query t."""
    return _reference(x, w_k, w_q, w_v)


@numpy_head.misconception
def keys_from_w_q(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your keys are made with w_q. What a word looks for and what it is found by are different
    things: the keys have a matrix of their own."""
    return _reference(x, w_q, w_q, w_v)


@numpy_head.misconception
def queries_from_w_k(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your queries are made with w_k. What a word looks for and what it is found by are different
    things: the queries have a matrix of their own."""
    return _reference(x, w_k, w_k, w_v)


@numpy_head.misconception
def mixes_x(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your weights are right, but you mix the rows of x with them. What is mixed is the values:
    x times w_v."""
    weights = _reference(x, w_q, w_k, w_v)[1]
    return weights @ x, weights


@numpy_head.misconception
def mixes_keys(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your weights are right, but you mix the keys with them. Keys are for matching; what is
    mixed is the values."""
    weights = _reference(x, w_q, w_k, w_v)[1]
    return weights @ (x @ w_k), weights


@numpy_head.misconception
def mixes_queries(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your weights are right, but you mix the queries with them. The queries ask; what is mixed
    is the values."""
    weights = _reference(x, w_q, w_k, w_v)[1]
    return weights @ (x @ w_q), weights


@numpy_head.misconception
def weights_transposed(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your weights are right, but you multiply the values by their transpose. Row t of the
    weights says how much word t takes from each value."""
    weights = _reference(x, w_q, w_k, w_v)[1]
    return weights.T @ (x @ w_v), weights


@numpy_head.misconception
def matrices_transposed(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """You multiply by a transposed matrix. x is (T, C) and w_q is (C, D): multiplied as they
    stand, they give (T, D). (nn.Linear keeps its weight the other way round. This is not it.)"""
    return _reference(x, w_q.T, w_k.T, w_v.T)


@numpy_head.misconception
def returns_scores(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Your output is right, but the second thing you return is the scores, from before softmax.
    Return the weights that you multiplied the values by."""
    return _reference(x, w_q, w_k, w_v)[0], _scores(x @ w_q, x @ w_k)


@numpy_head.misconception
def only_output(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Array:
    """Your output is right, but it comes alone. Return two things: the output, then the weights."""
    return _reference(x, w_q, w_k, w_v)[0]


@numpy_head.misconception
def only_weights(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Array:
    """Your weights are right, but they come alone. Step 4 mixes the values with them. Return two
    things: the output, then the weights."""
    return _reference(x, w_q, w_k, w_v)[1]


@numpy_head.misconception
def exchanged(x: Array, w_q: Array, w_k: Array, w_v: Array) -> Pair:
    """Both results are right, in the wrong order. Return the output first, then the weights."""
    return _reference(x, w_q, w_k, w_v)[::-1]
