"""The engine: what is said where no known mistake fits, and what must not happen."""

import sys
import warnings

import numpy as np
import pytest
import torch

from tutor_lib.checks.attention import LAB
from tutor_lib.checks.diagnose import Lab, NotYet

softmax, scores = LAB.parts["softmax"], LAB.parts["attention_scores"]
causal_mask, attention = LAB.parts["causal_mask"], LAB.parts["attention"]


def test_a_wrong_value_is_located():
    def student(x, dim):
        out = torch.softmax(x, dim).clone()
        out.view(-1)[4] += 0.25
        return out

    told = softmax.diagnose(student)
    assert "differs in 1 of 15 values; the first is at [0, 4]" in told
    assert "x (3, 5), dim = -1" in told
    assert "sums to 1.25" in told


def test_a_wrong_shape_type_and_dtype_are_named():
    told = softmax.diagnose(lambda x, dim: torch.softmax(x, dim)[None])
    assert "has shape (1, 3, 5), but should have (3, 5)" in told
    told = softmax.diagnose(lambda x, dim: torch.softmax(x, dim).numpy())
    assert "of type ndarray, but should be a torch.Tensor" in told
    told = softmax.diagnose(lambda x, dim: torch.softmax(x, dim).half())
    assert "of dtype float16, but should be float32" in told
    told = causal_mask.diagnose(lambda T: np.tri(T).astype(bool))
    assert "of type ndarray" in told
    assert "None. Is there a `return`" in scores.diagnose(lambda q, k: None)


def test_float64_that_comes_back_as_float32_is_seen():
    told = softmax.diagnose(lambda x, dim: torch.softmax(x.float(), dim))
    assert "of dtype float32, but should be float64" in told
    assert "x float64 (5, 7)" in told


def test_a_pair_is_looked_at_part_by_part():
    def three(q, k, v, mask=None):
        return (*attention.reference(q, k, v, mask), None)

    def wrong_output(q, k, v, mask=None):
        output, weights = attention.reference(q, k, v, mask)
        return output + 1, weights

    def doubled_weights(q, k, v, mask=None):
        output, weights = attention.reference(q, k, v, mask)
        return output, 2 * weights

    told = attention.diagnose(three)
    assert "returned 3 things, but should return 2 things (the output, the weight matrix)" in told
    assert "the output differs in 15 of 15 values" in attention.diagnose(wrong_output)
    told = attention.diagnose(doubled_weights)
    assert "the weight matrix differs in 35 of 35 values" in told
    assert "your first row sums to 2" in told


def test_nan_is_located():
    def student(x, dim):
        return torch.where(x > 299, torch.nan, torch.softmax(x, dim))

    told = softmax.diagnose(student)
    assert "holds NaN" in told
    assert "x (5, 3)" in told


def test_an_error_is_told_with_the_students_line():
    def student(q, k):
        sizes = q.shape[0]
        return q @ k.reshape(sizes, -1, 1000)

    told = scores.diagnose(student)
    assert "your code raised RuntimeError" in told
    assert "It happened in student, line" in told
    assert "return q @ k.reshape(sizes, -1, 1000)" in told


def test_an_error_from_inside_a_library_points_at_the_students_line():
    def student(q, k):
        return np.linalg.inv(np.zeros((2, 2)))

    told = scores.diagnose(student)
    assert "LinAlgError" in told
    assert "It happened in student, line" in told


def test_a_stub_is_called_unwritten_even_one_level_down():
    def own_stub(x, dim):
        raise NotImplementedError

    own_stub.__code__ = own_stub.__code__.replace(co_name="softmax")

    def student(q, k, v, mask=None):
        return own_stub(q @ k.mT, -1)

    assert softmax.diagnose(own_stub).startswith("It is not written yet.")
    assert attention.diagnose(student).startswith("It calls softmax, which is not written yet.")


def test_a_changed_argument_is_seen():
    def student(x, dim):
        x -= x.max()
        return torch.softmax(x, dim)

    assert "changes its argument x" in softmax.diagnose(student)


def test_an_unscaled_error_is_matched_although_it_raises_on_some_inputs():
    """q @ k fails on most shapes and multiplies by chance on others; both belong to one mistake."""
    told = scores.diagnose(lambda q, k: q @ k)
    assert told.startswith("You multiply q by k as it is.")
    assert "mat1 and mat2 shapes cannot be multiplied" in told


def test_another_error_of_the_same_type_is_not_taken_for_a_known_mistake():
    def student(q, k):
        raise RuntimeError("something of my own")

    assert scores.diagnose(student).startswith("Called with q (5, 11), k (7, 11): your code raised")


def test_results_of_odd_types_do_not_break_the_check():
    sparse, meta = torch.zeros(3, 5).to_sparse(), torch.zeros(3, 5, device="meta")
    for odd in (3, "text", [1, 2], (), object(), float, torch.tensor([]), sparse, meta):
        for part in (softmax, scores, attention):
            assert isinstance(part.diagnose(lambda *_, odd=odd: odd), str)


def test_check_counts_the_points(capsys):
    lab = Lab(softmax, scores)
    lab.check("softmax", torch.softmax)
    out = capsys.readouterr().out
    assert out.startswith("✓ softmax: right, 2 points.\n■■□□ 2 of 4 points so far.")
    assert "Still to do: attention_scores." in out
    lab.check("attention_scores", lambda q, k: q @ k.mT / q.size(-1) ** 0.5)
    assert "■■■■ 4 of 4 points so far. All checked parts pass." in capsys.readouterr().out
    with pytest.raises(NotYet):
        lab.check("softmax", torch.sigmoid)
    lab.check("attention_scores", lambda q, k: q @ k.mT / q.size(-1) ** 0.5)
    assert "2 of 4 points" in capsys.readouterr().out  # what broke again is no longer counted


def test_an_unknown_exercise_is_refused():
    with pytest.raises(ValueError, match="no exercise 'sofmax' here; there are softmax"):
        LAB.check("sofmax", torch.softmax)


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
        return torch.softmax(x, dim)

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
