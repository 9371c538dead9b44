"""The attention lab's checks: every mistake earns its own hint, every right answer passes."""

import math

import matplotlib as mpl
import pytest
import torch
from torch.nn import functional as F

from tutor_lib.checks.attention import LAB
from tutor_lib.checks.compare import alike, close
from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.run import run

mpl.use("Agg")

EXERCISES = {name: part for name, part in LAB.parts.items() if isinstance(part, Exercise)}
MISCONCEPTIONS = [(name, m) for name, part in EXERCISES.items() for m in part.misconceptions]
IDS = [f"{name}-{m.name}" for name, m in MISCONCEPTIONS]


@pytest.mark.parametrize(("exercise", "misconception"), MISCONCEPTIONS, ids=IDS)
def test_each_misconception_earns_its_own_hint(exercise, misconception):
    for seed in (0, 1, 2):
        told = EXERCISES[exercise].diagnose(misconception.wrong, seed)
        assert told is not None
        assert told.startswith(misconception.hint), told


@pytest.mark.parametrize("name", EXERCISES)
def test_no_two_misconceptions_hide_behind_each_other(name):
    hints = [m.hint for m in EXERCISES[name].misconceptions]
    shared = {h for h in hints if hints.count(h) > 1}
    assert len(hints) >= 8
    assert all("lines up" in h for h in shared)  # one hint for a maximum or a sum without keepdim


def _gap(part, wrong):
    """How far wrong values are from right ones; infinitely, if shape, type or dtype differ."""
    gap = 0.0
    for case in part.cases(torch.Generator().manual_seed(0)):
        ours, theirs = run(part.reference, case).value, run(wrong, case).value
        if not alike(ours, theirs):
            return math.inf
        both = zip(ours, theirs, strict=True) if isinstance(ours, tuple) else [(ours, theirs)]
        gap = max(gap, *(_distance(right, seen) for right, seen in both))
    return gap


def _distance(right, seen):
    clear = (right.double() - seen.double()).abs().nan_to_num(math.inf, math.inf)
    return torch.where(right == seen, 0, clear).max().item()


@pytest.mark.parametrize(("exercise", "misconception"), MISCONCEPTIONS, ids=IDS)
def test_a_mistake_changes_results_a_hundred_times_more_than_the_tolerance(exercise, misconception):
    """Checks elsewhere drew inputs so large that forgetting 1/√D changed nothing they could see."""
    assert _gap(EXERCISES[exercise], misconception.wrong) > 1e-2


# --- right answers of other make-ups ------------------------------------------------------------


def softmax_by_loop(x, dim):
    rows = x.movedim(dim, -1).reshape(-1, x.shape[dim])
    out = torch.empty_like(rows)
    for i, row in enumerate(rows):
        top = max(row.tolist())
        exps = [math.exp(value - top) for value in row.tolist()]
        out[i] = torch.tensor([e / sum(exps) for e in exps])
    return out.reshape(x.movedim(dim, -1).shape).movedim(-1, dim)


def softmax_by_logsumexp(x, dim):
    return (x - x.logsumexp(dim, keepdim=True)).exp()


def softmax_over_the_global_maximum(numbers, dim=-1):
    # The maximum of the whole tensor cancels as well as that of each row.
    exps = torch.exp(numbers - numbers.max())
    return exps / torch.sum(exps, dim=dim, keepdim=True)


def softmax_in_float64(x, dim):
    x = x.double()
    e = torch.exp(x - torch.max(x, dim, keepdim=True).values)
    return e / e.sum(dim, keepdims=True)


def softmax_by_unsqueeze(x, dim):
    e = (x - x.max(dim)[0].unsqueeze(dim)).exp_()
    return e.div_(e.sum(dim).unsqueeze(dim))


def softmax_of_torch(x, dim):
    return F.softmax(x, dim=dim)


def scores_einsum(q, k):
    return torch.einsum("...td,...sd->...ts", q, k) / q.shape[-1] ** 0.5


def scores_loop(q, k):
    *front, T, D = q.shape
    out = torch.zeros(*front, T, k.shape[-2], dtype=q.dtype)
    for t in range(T):
        for s in range(k.shape[-2]):
            out[..., t, s] = (q[..., t, :] * k[..., s, :]).sum(-1) / math.sqrt(D)
    return out


def scores_float64(q, k):
    return torch.matmul(q.double(), k.double().mT) * q.size(-1) ** -0.5


def scores_prescaled(queries, keys):
    return (queries / torch.tensor(queries.size(-1)).sqrt()) @ keys.swapaxes(-1, -2)


def scores_broadcast(q, k):
    return (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(dim=-1) / math.sqrt(k.size(-1))


def mask_by_comparison(T):
    return torch.arange(T)[None, :] <= torch.arange(T)[:, None]


def mask_by_lists(n):
    return torch.tensor([[s <= t for s in range(n)] for t in range(n)])


def mask_not_upper(T):
    return ~torch.triu(torch.ones(T, T, dtype=torch.bool), diagonal=1)


def mask_from_floats(T):
    return torch.tril(torch.ones((T, T))) == 1


def mask_by_rows(T):
    mask = torch.zeros(T, T).bool()
    for t in range(T):
        mask[t, : t + 1] = True
    return mask


def attention_einsum(q, k, v, mask=None):
    scores = torch.einsum("...td,...sd->...ts", q, k) / math.sqrt(q.size(-1))
    if mask is not None:
        scores = torch.where(mask, scores, torch.tensor(-torch.inf, dtype=scores.dtype))
    p = scores.softmax(-1)
    return torch.einsum("...ts,...sd->...td", p, v), p


def attention_additive(q, k, v, mask=None):
    bias = 0 if mask is None else torch.zeros(mask.shape).masked_fill(~mask, -math.inf)
    weights = F.softmax(q @ k.mT / math.sqrt(q.size(-1)) + bias, dim=-1)
    return weights @ v, weights


def attention_large_negative(q, k, v, mask=None):
    scores = q @ k.mT / math.sqrt(q.size(-1))
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    weights = torch.softmax(scores, -1)
    return [torch.matmul(weights, v), weights]


def attention_renormalised(q, k, v, mask=None):
    weights = torch.exp(q @ k.mT / math.sqrt(q.size(-1)))
    if mask is not None:
        weights = weights * mask
    weights = weights / weights.sum(-1, keepdim=True)
    return weights @ v, weights


def attention_loop(q, k, v, mask=None):
    scores = scores_loop(q, k)
    if mask is not None:
        scores[~mask.expand(scores.shape)] = float("-inf")
    weights = softmax_by_loop(scores, -1)
    output = torch.zeros(*q.shape[:-1], v.size(-1), dtype=v.dtype)
    for s in range(k.size(-2)):
        output += weights[..., :, s, None] * v[..., s, :].unsqueeze(-2)
    return output, weights


def attention_float64(q, k, v, mask=None):
    return attention_einsum(q.double(), k.double(), v.double(), mask)


RIGHT = {
    "softmax": [softmax_by_loop, softmax_by_logsumexp, softmax_over_the_global_maximum,
                softmax_in_float64, softmax_by_unsqueeze, softmax_of_torch],
    "attention_scores": [scores_einsum, scores_loop, scores_float64, scores_prescaled,
                         scores_broadcast],
    "causal_mask": [mask_by_comparison, mask_by_lists, mask_not_upper, mask_from_floats,
                    mask_by_rows],
    "attention": [attention_einsum, attention_additive, attention_large_negative,
                  attention_renormalised, attention_loop, attention_float64],
}  # fmt: skip
RIGHT_PAIRS = [(name, answer) for name, answers in RIGHT.items() for answer in answers]


@pytest.mark.parametrize(
    ("exercise", "answer"), RIGHT_PAIRS, ids=[a.__name__ for _, a in RIGHT_PAIRS]
)
def test_right_answers_of_other_make_ups_pass(exercise, answer):
    assert len(RIGHT[exercise]) >= 5
    for seed in (0, 1):
        told = EXERCISES[exercise].diagnose(answer, seed)
        assert told is None, told


def test_the_references_are_pytorchs():
    for case in EXERCISES["attention"].cases(torch.Generator().manual_seed(3)):
        q, k, v, *mask = case
        oracle = F.scaled_dot_product_attention(q, k, v, *mask)
        output, weights = EXERCISES["attention"].reference(*case)
        assert close(oracle, output).all()
        identity = torch.eye(k.size(-2), dtype=k.dtype).expand(*k.shape[:-2], -1, -1)
        assert close(F.scaled_dot_product_attention(q, k, identity, *mask), weights).all()
    for q, k in EXERCISES["attention_scores"].cases(torch.Generator().manual_seed(3)):
        scores = EXERCISES["attention_scores"].reference(q, k)
        assert close(torch.einsum("...td,...sd->...ts", q, k) * q.size(-1) ** -0.5, scores).all()
    for (n,) in EXERCISES["causal_mask"].cases(torch.Generator()):
        assert EXERCISES["causal_mask"].reference(n).tolist() == mask_by_lists(n).tolist()
