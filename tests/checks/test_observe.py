"""A check across two kernels: the same words as in one, and nothing to be gained by lying."""

import socket
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from tests.checks.written import soft
from tests.labs.two_kernels import served
from tutor_lib.checks.attention import LAB
from tutor_lib.checks.attention.core import attention as attention_exercise
from tutor_lib.checks.attention.softmax import softmax as softmax_exercise
from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.lab import Lab, NotYet
from tutor_lib.checks.plain import Foreign, pack, unpack
from tutor_lib.grading.protocol import judge

softmax = softmax_exercise.parts[0]


# --- plain words --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [None, True, 7, 2.5, 1j, "text", np.float32(0.25), np.int64(3), (1, [2, (3,)], "x"), (), []],
)
def test_data_come_back_as_they_were(value):
    back = unpack(pack(value))
    assert back == value
    assert type(back) is type(value)


def test_tensors_and_arrays_come_back_without_their_history():
    x = nn.Parameter(torch.randn(3, 5))
    (back,) = unpack(pack([x * 2]))
    assert torch.equal(back, 2 * x.detach())
    assert not back.requires_grad
    assert type(unpack(pack(x))) is torch.Tensor
    assert type(unpack(pack(np.ma.masked_array([1.0])))) is np.ndarray


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({1: 2}, "dict"),
        (nn.Linear(2, 3), "Linear"),
        (torch.zeros(2, 3).to_sparse(), "torch.sparse_coo on device cpu"),
        (torch.zeros(2, device="meta"), "torch.strided on device meta"),
        (np.array(["a"]), "ndarray"),
        (np.array([object()]), "ndarray"),
        (float, "type"),
    ],
)
def test_what_is_no_data_is_told_by_its_type(value, kind):
    back = unpack(pack(value))
    assert isinstance(back, Foreign)
    assert back.kind == kind
    assert back != unpack(pack(value))


def test_an_object_that_calls_itself_a_tensor_is_none():
    class Liar:
        __class__ = torch.Tensor
        shape = torch.Size([3, 5])

        def __eq__(self, other):
            return True

        __hash__ = None

    assert isinstance(Liar(), torch.Tensor)
    assert isinstance(unpack(("data", Liar())), Foreign)


# --- a student who rewrites the half that runs in his own kernel ---------------------------------


def told_of(part, answer, seed=0):
    """What an honest kernel would tell of an answer."""
    return {"calls": part.calls(answer, seed), "beyond": part.beyond(answer, seed)}


def judged(part, told, seed=0):
    """What the judge makes of what it is told."""
    return part.judge(lambda _, what: told[what], seed)


def wrong(x, dim):
    return soft(x, dim) + 0.1


def detached(x, dim):
    return soft(x.detach(), dim) + 0 * x


def test_what_is_told_honestly_is_judged_rightly():
    assert judged(softmax, told_of(softmax, soft)) is None
    assert "differs in" in judged(softmax, told_of(softmax, wrong))
    assert "the gradient that reaches x is not" in judged(softmax, told_of(softmax, detached))


def test_values_of_another_seed_and_too_few_of_them_are_wrong():
    told = told_of(softmax, soft)
    assert judged(softmax, told, seed=1) is not None
    outcomes, finished = told["calls"]
    for forged in ([], outcomes[:-1], [*outcomes, outcomes[0]]):
        with pytest.raises(ValueError, match="zip"):
            judged(softmax, told | {"calls": (forged, finished)})


def test_a_gradient_must_be_the_right_one():
    told = told_of(softmax, soft)
    (error, carries, gradients), moved = told["beyond"]
    assert error is None
    for forged in (
        None,
        pack([torch.zeros(3, 5), None]),
        pack([torch.zeros(()), None]),
        pack([None, None]),
        pack([Foreign("Tensor"), None]),
    ):
        assert judged(softmax, told | {"beyond": ((None, carries, forged), moved)}) is not None
    assert judged(softmax, told | {"beyond": ((None, carries, gradients), moved)}) is None


@pytest.mark.parametrize("nonsense", [None, 3, "right", (), ("data", True), [((), None, ())]])
def test_nonsense_earns_nothing(nonsense):
    class Nonsense:
        """Stands for a kernel that answers whatever it is asked with the same."""

        def __beside__(self, function):
            return lambda *_: nonsense

        def __call__(self):
            pass

    with pytest.raises(NotYet):
        LAB.check("softmax", Nonsense())
    with pytest.raises(NotYet):
        LAB.check("plot_weights", Nonsense())


# --- in two kernels -----------------------------------------------------------------------------


def ready(x, dim):
    return torch.softmax(x, dim)


def in_place(x, dim):
    x -= x.max()
    return soft(x, dim)


def by_numpy(x, dim):
    return torch.from_numpy(soft(x.detach(), dim).numpy())


def on_the_cpu(x, dim):
    return soft(x, dim) * torch.ones(x.shape, dtype=x.dtype)


def in_an_object(x, dim):
    return Exercise("an", soft)


def unwritten(x, dim):
    raise NotImplementedError


def with_an_error_of_its_own(x, dim):
    class Own(KeyError):
        pass

    raise Own("which key?")


def leaves(x, dim):
    sys.exit()


STUDENTS = [ready, in_place, by_numpy, on_the_cpu, in_an_object, unwritten, wrong, detached,
            with_an_error_of_its_own, leaves, torch.softmax, torch.ones(3), 7]  # fmt: skip


def told(student):
    with pytest.raises(NotYet) as caught:
        LAB.check("softmax", student)
    return str(caught.value)


def borrowed(student):
    """What the judge gets of an answer in the other kernel, which must be `served`."""
    namespace = {}
    judge.lend(["student"], namespace)
    return namespace["student"]


@pytest.mark.parametrize("student", STUDENTS, ids=lambda s: getattr(s, "__name__", repr(s)))
def test_the_words_are_the_same_in_two_kernels(student):
    here = told(student)
    with served({"student": student}):
        assert told(borrowed(student)) == here
    assert "could not make sense" not in here


def test_a_right_answer_passes_in_two_kernels(capsys):
    with served({"student": soft}):
        LAB.check("softmax", borrowed(soft))
    assert "✓ softmax: right" in capsys.readouterr().out


NOTEBOOK = """
import torch

def softmax(x, dim):
    return torch.sigmoid(x)

def attention_scores(q, k):
    raise NotImplementedError

def attention(q, k, v, mask=None):
    weights = softmax(attention_scores(q, k), -1)
    return weights @ v, weights
"""


def noisy(student, *arguments):
    """Runs beside the answer."""
    warnings.warn("harmless", stacklevel=1)
    print("debug", file=sys.stderr)
    return student(*arguments)


def fail_after_using(student, notebook, stub):
    """A hidden test that is right about the answer and fails nevertheless."""
    q, k, v = torch.randn(3, 2, 5), torch.randn(3, 7, 5), torch.randn(3, 7, 11)
    right = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    with Lab("trial", attention_exercise).grading("attention", student) as beside:
        output, _ = beside(noisy)(student, q, k, v)
        torch.testing.assert_close(output, right)
        assert notebook["attention_scores"] is not stub
        raise ZeroDivisionError


@pytest.mark.parametrize("kernels", [1, 2])
def test_hidden_tests_run_functions_beside_the_answer(kernels, capsys):
    notebook = {}
    exec(NOTEBOOK, notebook)
    stub = notebook["attention_scores"]
    with served({"student": notebook["attention"]}):
        student = notebook["attention"] if kernels == 1 else borrowed(notebook["attention"])
        with pytest.raises(ZeroDivisionError):
            fail_after_using(student, notebook, stub)
    assert notebook["attention_scores"] is stub
    assert capsys.readouterr().err == ""


# --- in two processes ---------------------------------------------------------------------------

REWRITES = """
import torch
from tutor_lib.checks import compare, diagnose, lab, probe, trial
from tutor_lib.grading.protocol import far

compare.agree = trial.agree = compare.matches = trial.matches = lambda *_: True
diagnose.Part.judge = probe.learns = lab.Lab.check = lambda *_: None
torch.allclose = torch.equal = lambda *_, **__: True
torch.testing.assert_close = lambda *_, **__: None

def wrong(x, dim):
    return torch.sigmoid(x)

def right(x, dim):
    e = (x - x.amax(dim, keepdim=True)).exp()
    return e / e.sum(dim, keepdim=True)

far.serve()
"""


def test_who_rewrites_the_checks_in_his_own_kernel_gains_nothing(monkeypatch, capsys):
    ours, theirs = socket.socketpair()
    monkeypatch.setenv("TUTOR_LINK", str(theirs.fileno()))
    command = [sys.executable, "-c", REWRITES]
    with ours, subprocess.Popen(command, pass_fds=[theirs.fileno()]):
        theirs.close()
        monkeypatch.setenv("TUTOR_LINK", str(ours.fileno()))
        namespace = {}
        judge.lend(["wrong", "right"], namespace)
        with pytest.raises(NotYet, match="sigmoid of each value on its own"):
            LAB.check("softmax", namespace["wrong"])
        LAB.check("softmax", namespace["right"])
        judge.done(namespace)
    assert "✓ softmax: right" in capsys.readouterr().out
