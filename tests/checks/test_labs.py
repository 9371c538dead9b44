"""Every lab: each mistake is caught and earns its own hint, each right answer passes.

`pytest tests/checks/test_labs.py -n 0 -s` prints the tables.
"""

import math

import matplotlib as mpl
import pytest
import torch

from tests.labs_there import NAMES, lab_of, right_answers, typed
from tutor_lib.checks.compare import alike
from tutor_lib.checks.draw import Draw

mpl.use("Agg")

EXERCISES = [(lab, e) for lab in NAMES for e in lab_of(lab).exercises.values()]


@pytest.fixture(autouse=True)
def _as_in_a_notebook(unchecked_shapes):
    """A notebook has no shape checker; while calls are watched it takes most of the time."""


def row(lab, exercise, thing, name):
    """One row of a table; each lab's rows stay in one process."""
    group = pytest.mark.xdist_group(f"checks of {lab}")
    return pytest.param(lab, exercise, thing, id=f"{lab}-{exercise.name}-{name}", marks=group)


MISTAKES = [row(lab, e, m, m.name) for lab, e in EXERCISES for m in e.misconceptions]
ANSWERS = [
    row(lab, e, answer, answer.__name__)
    for lab, e in EXERCISES
    for answer in right_answers(lab).get(e.name, [])
]


@pytest.mark.parametrize(("lab", "exercise", "mistake"), MISTAKES)
def test_each_mistake_is_caught_and_earns_its_own_hint(lab, exercise, mistake):
    student = typed(exercise, mistake.wrong)
    for seed in (0, 1):
        told = {part.name: part.diagnose(student, seed) for part in exercise.parts}
        lost = {name: text for name, text in told.items() if text is not None}
        print(f"| {lab} | {exercise.name} | {mistake.name} | {', '.join(lost)} |")
        assert lost, "no part of the exercise sees it"
        for text in lost.values():
            assert text.startswith(mistake.hint), text


@pytest.mark.parametrize(("lab", "exercise", "answer"), ANSWERS)
def test_right_answers_of_other_make_ups_pass(lab, exercise, answer):
    student = typed(exercise, answer)
    for seed in (0, 1):
        told = {part.name: part.diagnose(student, seed) for part in exercise.parts}
        print(f"| {lab} | {exercise.name} | {answer.__name__} | {', '.join(told)} |")
        assert not any(told.values()), told


@pytest.mark.parametrize(("lab", "exercise"), EXERCISES, ids=[e.name for _, e in EXERCISES])
def test_there_are_five_right_answers_to_each_exercise(lab, exercise):
    assert len(right_answers(lab)[exercise.name]) >= 5


@pytest.mark.parametrize("lab", NAMES)
def test_each_lab_knows_ten_mistakes_at_least_and_tells_them_apart(lab):
    mistakes = [m for e in lab_of(lab).exercises.values() for m in e.misconceptions]
    assert len(mistakes) >= 10
    for exercise in lab_of(lab).exercises.values():
        hints = [m.hint for m in exercise.misconceptions]
        shared = {h for h in hints if hints.count(h) > 1}
        assert all("lines up" in h for h in shared)  # a maximum or a sum without keepdim


def gap(exercise, wrong):
    """How far wrong values are from right ones; infinitely, if shape, type or an error differ."""
    largest = 0.0
    for part in exercise.parts:
        for case in part.cases(Draw(torch.Generator().manual_seed(0))):
            ours, theirs = (part._tried(f, case) for f in (exercise.reference, wrong))
            if theirs.error or ours.error or not alike(ours.value, theirs.value):
                return math.inf
            pairs = zip(*(v if isinstance(v, tuple) else (v,) for v in (ours.value, theirs.value)),
                        strict=True)  # fmt: skip
            largest = max(largest, *(distance(right, seen) for right, seen in pairs))
    return largest


def distance(right, seen):
    """The largest difference, where one is; NaN, infinity and another word count as infinite."""
    if isinstance(right, str):
        return 0.0 if right == seen else math.inf
    right, seen = (torch.as_tensor(v).double() for v in (right, seen))
    if not right.numel():
        return 0.0
    clear = (right - seen).abs().nan_to_num(math.inf, math.inf)
    return torch.where(right == seen, 0, clear).max().item()


@pytest.mark.parametrize(("lab", "exercise", "mistake"), MISTAKES)
def test_a_mistake_changes_results_a_hundred_times_more_than_the_tolerance(lab, exercise, mistake):
    """Checks elsewhere drew inputs so large that forgetting 1/√D changed nothing they could see."""
    assert gap(exercise, mistake.wrong) > 1e-2
