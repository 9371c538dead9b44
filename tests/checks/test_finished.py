"""Whoever calls the finished thing is told so, under whatever name it was imported."""

import functools

import pytest
import scipy.special
import torch
import torch.nn.functional as functional_of_torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention as hidden_under_another_name

from tutor_lib.attention import core
from tutor_lib.checks.attention.core import attention as exercise
from tutor_lib.checks.attention.softmax import softmax
from tutor_lib.checks.finished import Watch, ready_made
from tutor_lib.checks.lab import Lab, NotYet

NAMES = ("softmax", "Softmax", "scaled_dot_product_attention", "MultiheadAttention")
x = torch.randn(2, 3, 5)
kept = nn.Softmax(-1)


def noted(student, names=NAMES, **more):
    """What is noted when a student's function is called as a check calls it."""
    watch = Watch(names, **more)
    watch.over(student)()
    return watch.seen


@pytest.mark.parametrize(
    ("student", "name"),
    [
        (lambda: torch.softmax(x, -1), "softmax"),
        (lambda: x.softmax(-1), "softmax"),
        (lambda: functional_of_torch.softmax(x, dim=-1), "softmax"),
        (lambda: nn.Softmax(-1)(x), "Softmax"),
        (lambda: kept(x), "Softmax"),
        (lambda: torch.special.softmax(x, -1), "special_softmax"),
        (lambda: torch._softmax(x, -1, False), "_softmax"),
        (lambda: scipy.special.softmax(x.numpy()), "softmax"),
        (lambda: list(map(kept, [x])), "Softmax"),
        (lambda: hidden_under_another_name(x, x, x), "scaled_dot_product_attention"),
        (lambda: nn.MultiheadAttention(5, 1), "MultiheadAttention"),
        (lambda: nn.TransformerEncoderLayer(6, 2)(torch.ones(1, 3, 6)), "MultiheadAttention"),
        (lambda: core.causal_mask(3), "tutor_lib.attention.core.causal_mask"),
    ],
)
def test_the_finished_thing_is_seen(student, name):
    assert noted(student) == name


def test_what_is_built_from_parts_is_not():
    def student():
        e = (x - x.amax(-1, keepdim=True)).exp()
        return nn.Linear(5, 5, bias=False)(e / e.sum(-1, keepdim=True)).sum().item()

    assert noted(student) is None
    assert noted(lambda: core.causal_mask(3), welcome=("tutor_lib.attention",)) is None


def test_what_stands_in_may_be_called():
    student = functools.partial(softmax.reference, x, -1)
    assert noted(lambda: student()) == "tutor_lib.checks.attention.softmax._reference"
    assert noted(lambda: student(), lent=[softmax.reference]) is None


def test_a_profiler_that_was_on_stays_on():
    import sys

    seen = []
    sys.setprofile(lambda *event: seen.append(event))
    try:
        noted(lambda: None)
        assert sys.getprofile() is not None
    finally:
        sys.setprofile(None)


def test_what_is_imported_or_inherited_is_named():
    class Own(nn.Module):
        pass

    class Inherited(nn.MultiheadAttention):
        pass

    assert ready_made(Own) is None
    assert ready_made(lambda q: q) is None
    assert ready_made(functools.partial(lambda q: q)) is None

    class Wider(nn.Linear):
        pass

    assert ready_made(Wider, NAMES) is None
    assert "MultiheadAttention" in ready_made(Inherited, NAMES)
    assert ready_made(core.scaled_dot_product_attention).startswith("tutor_lib.attention")
    assert "softmax" in ready_made(torch.softmax)
    assert "softmax" in ready_made(functools.partial(torch.softmax, dim=-1))
    assert ready_made(softmax.reference).startswith("tutor_lib.checks.attention.softmax")


def test_a_student_is_told():
    lab = Lab("trial", exercise, softmax)
    part = exercise.parts[0].name

    def attention(q, k, v, mask=None):
        return hidden_under_another_name(q, k, v, mask), None

    with pytest.raises(NotYet, match="You call scaled_dot_product_attention, which is the"):
        lab.check(part, attention)
    with pytest.raises(NotYet, match="Your answer is torch"):
        lab.check("softmax", torch.softmax)
