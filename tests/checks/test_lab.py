"""A lab: what a check prints, what it keeps to itself, and which numbers it draws."""

import sys
import types
import warnings

import pytest
import torch

from tests.checks.written import mix, soft
from tutor_lib.checks.attention.core import attention as attention_exercise
from tutor_lib.checks.attention.scores import attention_scores as scores_exercise
from tutor_lib.checks.attention.softmax import softmax as softmax_exercise
from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.lab import Lab, NotYet

scores = scores_exercise.parts[0]
LAB = Lab("trial", softmax_exercise, scores_exercise)


def test_check_counts_the_points(capsys):
    lab = Lab("trial", attention_exercise, scores_exercise)
    full, few = sum(p.points for p in attention_exercise.parts), scores.points

    def right(q, k):
        return q @ k.mT / q.size(-1) ** 0.5

    lab.check("attention_scores", right)
    out = capsys.readouterr().out
    assert out.startswith(f"✓ attention_scores: right, {few} points.\n" + "■" * few + "□" * full)
    assert f"{few} of {few + full} points so far" in out
    assert "○\u00a0attention " in out
    assert "✓\u00a0attention_scores" in out
    for part in attention_exercise.parts:
        lab.check(part.name, mix)
    assert f"{few + full} of {few + full} points" in capsys.readouterr().out
    with pytest.raises(NotYet):
        lab.check("attention_scores", lambda q, k: q @ k.mT)
    lab.check(part.name, mix)
    assert f"{full} of {few + full} points" in capsys.readouterr().out  # what broke is not counted


def test_an_unknown_exercise_is_refused():
    with pytest.raises(ValueError, match="no check 'sofmax' here; there are softmax"):
        LAB.check("sofmax", soft)


def test_jupyter_shows_the_diagnosis_alone():
    with pytest.raises(AssertionError) as caught:
        LAB.check("attention_scores", lambda q, k: q @ k.mT)
    shown = "\n".join(caught.value._render_traceback_())
    assert shown.startswith(
        "✗ attention_scores: not yet.\n\nYour scores equal what you get without"
    )
    assert "diagnose.py" not in shown
    assert max(map(len, shown.splitlines())) <= 78


def test_warnings_and_stderr_of_a_right_answer_cost_nothing(capsys, recwarn):
    """nbgrader scores a test cell that writes one character to stderr as failed."""

    def student(x, dim):
        warnings.warn("harmless", stacklevel=1)
        print("debug", file=sys.stderr)
        return soft(x, dim)

    LAB.check("softmax", student)
    seen = capsys.readouterr()
    assert seen.err == ""
    assert len(recwarn) == 0
    assert "debug" in seen.out


def test_the_same_seed_gives_the_same_diagnosis():
    def student(q, k):
        return q @ k.mT * 0.123

    assert scores.diagnose(student, 5) == scores.diagnose(student, 5)
    assert scores.diagnose(student, 5) != scores.diagnose(student, 6)


def test_a_value_is_refused_before_it_is_called():
    with pytest.raises(NotYet, match="attention_scores should be a function or a class; it is a"):
        LAB.check("attention_scores", torch.ones(3))


def test_what_the_check_cannot_read_is_told_without_a_traceback():
    class Strange(list):
        def __iter__(self):
            raise OSError("nothing to see here")

    with pytest.raises(NotYet) as caught:
        LAB.check("attention_scores", lambda q, k: Strange([1]))
    assert "could not make sense" in str(caught.value)


def test_each_student_and_each_check_has_numbers_of_its_own(monkeypatch, tmp_path):
    seeds = set()
    for student in ("ada", "bob"):
        folder = tmp_path / student / "attention"
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        seeds |= {LAB.seed("softmax"), LAB.seed("attention_scores")}
    assert len(seeds) == 4
    before = LAB.seed("softmax")
    monkeypatch.setenv("TUTOR_SEED", "given")
    given = LAB.seed("softmax")
    monkeypatch.chdir(tmp_path)
    assert LAB.seed("softmax") == given != before


def test_a_typed_in_result_is_right_for_nobody_else(monkeypatch, tmp_path, capsys):
    """Public inputs invite to type in what came out of them."""
    double = Exercise("double", lambda x: 2 * x, learns=False)
    part = double.part("double", 1, lambda draw: [(draw(2),)])
    lab, seen = Lab("trial", part.exercise), []
    monkeypatch.chdir(tmp_path)
    lab.check("double", lambda x: seen.append(2 * x) or 2 * x)
    typed = seen[0]
    lab.check("double", lambda x: typed + 0 * x)
    (tmp_path / "graded").mkdir()
    monkeypatch.chdir(tmp_path / "graded")
    with pytest.raises(NotYet):
        lab.check("double", lambda x: typed + 0 * x)


# --- the right parts stand in for the student's others ------------------------------------------

NOTEBOOK = """
import torch

def softmax(x, dim):
    return torch.sigmoid(x)

def attention_scores(q, k):
    raise NotImplementedError

def attention(q, k, v, mask=None):
    scores = attention_scores(q, k)
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    weights = softmax(scores, -1)
    return weights @ v, weights
"""


def test_a_mistake_in_one_part_costs_nothing_in_the_next():
    notebook = types.ModuleType("notebook")
    exec(NOTEBOOK, vars(notebook))
    wrong, stub = notebook.softmax, notebook.attention_scores
    lab = Lab("trial", softmax_exercise, attention_exercise)
    for part in attention_exercise.parts:
        lab.check(part.name, notebook.attention)
    with pytest.raises(NotYet, match="sigmoid"):
        lab.check("softmax", wrong)
    assert notebook.softmax is wrong
    assert notebook.attention_scores is stub


def test_hidden_tests_have_the_right_parts_too(capsys):
    notebook = types.ModuleType("notebook")
    exec(NOTEBOOK, vars(notebook))
    q, k, v = torch.randn(3, 2, 5), torch.randn(3, 7, 5), torch.randn(3, 7, 11)
    with Lab("trial", attention_exercise).grading("attention", notebook.attention):
        output, _ = notebook.attention(q, k, v)
        warnings.warn("harmless", stacklevel=1)
        print("debug", file=sys.stderr)
    right = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(output, right)
    assert capsys.readouterr().err == ""
    with pytest.raises(NotImplementedError):
        notebook.attention(q, k, v)
