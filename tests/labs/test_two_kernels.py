"""The labs under the judge: each test comes to the same as where all is one kernel."""

import matplotlib as mpl
import pytest

from tests.cells import cell
from tests.labs.two_kernels import Submission, one_kernel, two_kernels
from tests.labs_there import NAMES, lab_of, right_answers

pytestmark = pytest.mark.usefixtures("unchecked_shapes")
mpl.use("Agg")

EXERCISES = [(lab, e) for lab in NAMES for e in lab_of(lab).exercises.values()]
MISTAKES = [
    pytest.param(lab, e, m, id=f"{lab}-{e.name}-{m.name}")
    for lab, e in EXERCISES
    for m in e.misconceptions
]
FIRST = [pytest.param(lab, e, e.misconceptions[0], id=f"{lab}-{e.name}") for lab, e in EXERCISES]
ANSWERS = [
    pytest.param(lab, e, answer, id=f"{lab}-{e.name}-{answer.__name__}")
    for lab, e in EXERCISES
    for answer in right_answers(lab).get(e.name, [])
]


@pytest.fixture(autouse=True)
def _seed(monkeypatch):
    monkeypatch.setenv("TUTOR_SEED", "the same in both")


def outcomes(kernels, submission, exercise):
    """What each test of an exercise comes to: nothing, or the error's type and text."""
    with kernels(submission) as run:
        errors = {name: run(source) for name, source in submission.tests(exercise).items()}
    return {name: error and (type(error).__name__, str(error)) for name, error in errors.items()}


def with_answer(lab, exercise, thing):
    """The solution with another answer to one exercise."""
    source = cell(thing, exercise.name, exercise.lent)
    return Submission(lab, {exercise.name: source}, until=exercise.name)


@pytest.mark.parametrize("lab", NAMES)
@pytest.mark.parametrize("kernels", [one_kernel, two_kernels])
def test_the_solution_passes_every_test(lab, kernels):
    submission = Submission(lab)
    with kernels(submission) as run:
        for part in lab_of(lab).parts.values():
            exercise = getattr(part, "exercise", part).name
            for name, source in submission.tests(exercise).items():
                assert run(source) is None, name


def assert_the_same(lab, exercise, mistake):
    """The mistake is caught, with its hint, by the same parts; and no hidden test is fooled."""
    submission = with_answer(lab, exercise, mistake.wrong)
    alone = outcomes(one_kernel, submission, exercise.name)
    judged = outcomes(two_kernels, submission, exercise.name)
    assert [*filter(None, judged.values())]
    for name, seen in judged.items():
        if name.endswith("hidden"):
            assert bool(seen) == bool(alone[name]), (name, seen, alone[name])
        else:
            assert seen == alone[name]
            assert seen is None or mistake.hint in " ".join(seen[1].split())


@pytest.mark.parametrize(("lab", "exercise", "mistake"), FIRST)
def test_a_mistake_comes_to_the_same_in_two_kernels(lab, exercise, mistake):
    assert_the_same(lab, exercise, mistake)


@pytest.mark.long
@pytest.mark.parametrize(("lab", "exercise", "mistake"), MISTAKES)
def test_every_mistake_comes_to_the_same_in_two_kernels(lab, exercise, mistake):
    assert_the_same(lab, exercise, mistake)


@pytest.mark.long
@pytest.mark.parametrize(("lab", "exercise", "answer"), ANSWERS)
def test_every_right_answer_passes_in_two_kernels(lab, exercise, answer):
    submission = with_answer(lab, exercise, answer)
    assert not any(outcomes(two_kernels, submission, exercise.name).values())
