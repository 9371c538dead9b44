"""Beyond values: gradients that do not flow, and tensors that would lie on the wrong device."""

import math

import pytest
import torch
from torch import nn

from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.elsewhere import Elsewhere, WrongDevice, is_here


def ours(x, y):
    """The reference: a product, and a sum."""
    return x * y, x + y


@pytest.fixture
def part():
    return Exercise("both", ours).part("both", 1, lambda draw: [(draw(3, 5), draw(3, 5))])


def by_numpy(x, y):
    return torch.from_numpy(x.detach().numpy() * y.detach().numpy()), x + y


def by_lists(x, y):
    return x * y, torch.tensor((x + y).tolist())


def half_detached(x, y):
    return x * y.detach(), x + y


def all_right(x, y):
    return torch.einsum("ij,ij->ij", x, y), y + x


@pytest.mark.parametrize(
    ("student", "told"),
    [
        (by_numpy, "result number 1 carries no gradient"),
        (by_lists, "result number 2 carries no gradient"),
        (half_detached, "the gradient that reaches y is not"),
    ],
)
def test_a_lost_gradient_is_told(part, student, told):
    assert told in part.diagnose(student)


def changed_afterwards(x, y):
    product = x * y
    doubled = product * product
    product /= 2
    return 2 * product, x + y + 0 * doubled


def leaves_pytorch(x, y):
    return torch.from_numpy(x.numpy() * y.numpy()), x + y


def test_what_breaks_only_in_training_is_told(part):
    """Here autograd's own words, and the inside of the check, once reached the student."""
    assert "Is one of your own tensors changed in place" in part.diagnose(changed_afterwards)
    told = part.diagnose(leaves_pytorch)
    assert "as in training, your code raised RuntimeError: Can't call numpy()" in told
    assert "It happened in leaves_pytorch" in told


def test_a_gradient_that_flows_is_right(part):
    assert part.diagnose(all_right) is None
    with torch.no_grad():  # as the notebook may have it around the check
        assert "carries no gradient" in part.diagnose(by_numpy)


def test_where_nothing_needs_a_gradient_none_is_asked_for():
    exercise = Exercise("both", ours, learns=False)
    part = exercise.part("both", 1, lambda draw: [(draw(3, 5), draw(3, 5))])
    assert part.diagnose(half_detached) is None
    whole = Exercise("above", lambda x: x > 0)
    assert whole.part("above", 1, lambda draw: [(draw(3),)]).diagnose(lambda x: 0 < x) is None


# --- as if on a GPU -----------------------------------------------------------------------------


class Buffered(nn.Module):
    """Its mask moves with it."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(5, 5)
        self.register_buffer("mask", torch.ones(5, 5).tril())

    def forward(self, x):
        return self.inner(x) * self.mask


class Attribute(Buffered):
    """Its mask stays behind."""

    def __init__(self):
        super().__init__()
        self.kept = torch.ones(5, 5).tril()

    def forward(self, x):
        return self.inner(x) * self.kept


def into_empty(x):
    out = torch.empty_like(x)
    out[0] = torch.arange(5)
    return out


def into_zeros(x):
    out = torch.zeros(5, 5)
    out[2:4] = x[2:4]
    return out


FAILS = {  # on a GPU
    "a fresh tensor": lambda x: x + torch.ones(x.shape),
    "a fresh mask": lambda x: x.masked_fill(torch.ones(5, 5, dtype=torch.bool).tril(), 0),
    "where": lambda x: torch.where(x > 0, x, torch.zeros(5)),
    "einsum": lambda x: torch.einsum("ij,jk->ik", x, torch.eye(5)),
    "cat": lambda x: torch.cat([x, torch.zeros(1, 5)]),
    "scatter": lambda x: x.new_zeros(5, 5).index_add_(0, torch.arange(5), x),
    "numpy": lambda x: torch.from_numpy(x.numpy()),
    "a mask that stays behind": lambda x: Attribute().to(x.device)(x),
}
STAYS = {  # runs, but the result lies on the CPU
    "returned from nothing": lambda x: torch.zeros(3, 3),
    "filled piece by piece": into_zeros,
    "moved": lambda x: x.cpu(),
    "by name": lambda x: torch.zeros(3, device="cpu"),
    "two of them": lambda x: torch.ones(4).split(2)[0],
}
WORKS = {
    "a number": lambda x: x * math.sqrt(5),
    "a tensor of one number": lambda x: x / torch.tensor(5.0).sqrt(),
    "assignment across": into_empty,
    "a fresh mask with a device": lambda x: x * torch.ones(5, 5, device=x.device),
    "moved in time": lambda x: x * torch.ones(5, 5).tril().to(x.device),
    "like another": lambda x: torch.zeros_like(x) + x.new_ones(5),
    "indices from the CPU": lambda x: x[torch.arange(3)],
    "a buffer": lambda x: Buffered().to(x.device)(x),
    "top": lambda x: x.gather(1, x.topk(2).indices),
    "type_as": lambda x: x + torch.arange(5).type_as(x),
}


def outcome(function, x):
    """'fails', 'stays' or 'works', as the mode sees it."""
    with Elsewhere():
        try:
            result = function(x)
        except WrongDevice:
            return "fails"
    return "stays" if is_here(result) else "works"


def on_cuda(function, x):
    """The same, as PyTorch sees it on a real GPU."""
    try:
        result = function(x.cuda())
    except (RuntimeError, TypeError):
        return "fails"
    return "works" if result.is_cuda else "stays"


TABLE = [
    (name, function, told)
    for told, functions in (("fails", FAILS), ("stays", STAYS), ("works", WORKS))
    for name, function in functions.items()
]


@pytest.mark.parametrize(("name", "function", "told"), TABLE, ids=[row[0] for row in TABLE])
def test_what_a_gpu_would_say(name, function, told):
    assert outcome(function, torch.randn(5, 5)) == told


@pytest.mark.gpu
@pytest.mark.parametrize(("name", "function", "told"), TABLE, ids=[row[0] for row in TABLE])
def test_what_a_gpu_says(name, function, told):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    with torch.no_grad():
        assert on_cuda(function, torch.randn(5, 5)) == told


def test_a_student_is_told_about_the_gpu():
    part = Exercise("double", lambda x: 2 * x).part("double", 1, lambda draw: [(draw(5, 5),)])
    told = part.diagnose(lambda x: x + x * torch.ones(5))
    assert told.startswith("This works on a CPU. On a GPU it would fail: Expected all")
    assert "It happened in <lambda>" in told

    def filled(x):
        out = torch.zeros(5, 5)
        out[:] = 2 * x
        return out

    assert "on a GPU your result would lie on the CPU" in part.diagnose(filled)
    assert part.diagnose(lambda x: x + x * torch.ones(5, device=x.device)) is None
