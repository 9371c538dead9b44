"""The engine: what is said where no known mistake fits, and what must not happen."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from tests.checks.written import mix, soft
from tutor_lib.checks.attention.core import attention as attention_exercise
from tutor_lib.checks.attention.masks import causal_mask as mask_exercise
from tutor_lib.checks.attention.scores import attention_scores as scores_exercise
from tutor_lib.checks.attention.softmax import softmax as softmax_exercise
from tutor_lib.checks.compare import difference
from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.modules import built, loaded

softmax, scores = softmax_exercise.parts[0], scores_exercise.parts[0]
causal_mask, attention = mask_exercise.parts[0], attention_exercise.parts[0]


def test_a_wrong_value_is_located():
    def student(x, dim):
        out = soft(x, dim).clone()
        out.view(-1)[4] += 0.25
        return out

    told = softmax.diagnose(student)
    assert "differs in 1 of 15 values; the first is at [0, 4]" in told
    assert "x (3, 5), dim = -1" in told
    assert "sums to 1.25" in told


def test_a_wrong_shape_type_and_dtype_are_named():
    told = softmax.diagnose(lambda x, dim: soft(x, dim)[None])
    assert "has shape (1, 3, 5), but should have (3, 5)" in told
    told = softmax.diagnose(lambda x, dim: soft(x, dim).numpy())
    assert "of type ndarray, but should be a torch.Tensor" in told
    told = softmax.diagnose(lambda x, dim: soft(x, dim).half())
    assert "of dtype float16, but should be float32" in told
    told = causal_mask.diagnose(lambda T: np.tri(T).astype(bool))
    assert "of type ndarray" in told
    assert "None. Is there a `return`" in scores.diagnose(lambda q, k: None)


def test_float64_that_comes_back_as_float32_is_seen():
    told = softmax.diagnose(lambda x, dim: soft(x.float(), dim))
    assert "of dtype float32, but should be float64" in told
    assert "x float64 (5, 7)" in told


def test_a_pair_is_looked_at_part_by_part():
    def three(q, k, v, mask=None):
        return (*mix(q, k, v, mask), None)

    def wrong_output(q, k, v, mask=None):
        output, weights = mix(q, k, v, mask)
        return output + 1, weights

    def doubled_weights(q, k, v, mask=None):
        output, weights = mix(q, k, v, mask)
        return output, 2 * weights

    told = attention.diagnose(three)
    assert "returned 3 things, but should return 2 things (the output, the weight matrix)" in told
    assert "the output differs in 15 of 15 values" in attention.diagnose(wrong_output)
    told = attention.diagnose(doubled_weights)
    assert "the weight matrix differs in 35 of 35 values" in told
    assert "your first row sums to 2" in told


def test_nan_is_located():
    def student(q, k):
        right = q @ k.mT / q.size(-1) ** 0.5
        right[0, 1] = torch.nan
        return right

    assert "holds NaN, 1 of 35 values; the first is at [0, 1]" in scores.diagnose(student)


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


def test_an_unwritten_dtype_or_forward_is_no_unwritten_answer():
    """PyTorch raises NotImplementedError too, and with a word."""
    told = scores.diagnose(lambda q, k: (q > 0) @ (k > 0).mT)
    assert "not written yet" not in told
    assert "your code raised" in told
    assert 'missing the required "forward"' in scores.diagnose(lambda q, k: nn.Module()(q))


def test_a_changed_argument_is_seen():
    def student(x, dim):
        x -= x.max()
        return soft(x, dim)

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


# --- classes, numbers and arrays ----------------------------------------------------------------


class Scaled(nn.Module):
    """A module with one parameter, as a reference."""

    def __init__(self, C):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(C))

    def forward(self, x):
        return x * self.gain


def use_scaled(make, x, gain):
    """Build it, fill it, call it."""
    return loaded(built(make, x.size(-1)), {"gain": gain}, x)(x)


@pytest.fixture
def scaled():
    exercise = Exercise("Scaled", Scaled, welcome=("tutor_lib.checks.modules",))
    exercise.part("Scaled", 1, lambda draw: [(draw(4, 8), draw(8)), (draw(3, 5), draw(5))],
                  use_scaled)  # fmt: skip

    @exercise.misconception
    class Added(Scaled):
        """You add the gain."""

        def forward(self, x):
            return x + self.gain

    return exercise.parts[0]


class RightScaled(nn.Module):
    """The same, written by somebody else."""

    def __init__(self, width):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return torch.einsum("tc,c->tc", x, self.gain)


def test_a_right_class_passes_and_a_wrong_one_earns_its_hint(scaled):
    class Wrong(RightScaled):
        def forward(self, x):
            return self.gain + x

    assert scaled.diagnose(RightScaled) is None
    assert scaled.diagnose(Wrong).startswith("You add the gain.")


def test_the_make_up_of_a_module_is_told(scaled):
    class Misnamed(nn.Module):
        def __init__(self, C):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(C))

    class Biased(RightScaled):
        def __init__(self, C):
            super().__init__(C)
            self.bias = nn.Parameter(torch.ones(C))

    class Fixed(RightScaled):
        def __init__(self, C):
            super().__init__(4)

    class Plain:
        def __init__(self, C):
            self.gain = torch.ones(C)

    assert "has no parameter gain. It has scale." in scaled.diagnose(Misnamed)
    assert "not asked for: bias" in scaled.diagnose(Biased)
    assert "gain has shape (4,), but should have (8,)" in scaled.diagnose(Fixed)
    assert "gave a Plain, which is no nn.Module" in scaled.diagnose(Plain)


def test_a_size_written_into_the_code_is_guessed(scaled):
    class OnlyEight(RightScaled):
        def forward(self, x):
            return x * self.gain * (8 / x.size(-1))

    told = scaled.diagnose(OnlyEight)
    assert "Called with x (3, 5)" in told
    assert "It is right with x (4, 8), gain (8,). Is a size written into your code" in told


def both_precisions(draw):
    """Two vectors in float32, and two in float64."""
    return [(draw(3), draw(3)), (draw(5).double(), draw(5).double())]


def test_a_dtype_of_ones_own_is_guessed():
    part = Exercise("product", lambda x, y: x @ y).part("product", 1, both_precisions)
    told = part.diagnose(lambda x, y: x.float() @ y)
    assert told.endswith("right in float32. Does a tensor that you make have a dtype of its own?")


def test_a_stub_in_a_class_is_unwritten(scaled):
    class Unwritten(nn.Module):
        def __init__(self, C):
            raise NotImplementedError

    class HalfWritten(RightScaled):
        def forward(self, x):
            raise NotImplementedError

    assert scaled.diagnose(Unwritten).startswith("It is not written yet.")
    assert scaled.diagnose(HalfWritten).startswith("Its forward is not written yet.")


@pytest.mark.parametrize(
    ("expected", "got", "told"),
    [
        (6, 7, "the result is 7, expected 6."),
        (6, 6.5, "the result is 6.5, expected 6."),
        (0.5, torch.tensor(0.5), "the result is of type torch.Tensor, but should be a float."),
        (0.5, "half", "the result is of type str, but should be a float."),
        (0.5, True, "the result is of type bool, but should be a float."),
        (6, 6.0, "the result is 6.0, of type float, but should be an int."),
        (True, False, "the result: no, but it should be yes."),
        (np.ones(3), torch.ones(3), "type torch.Tensor, but should be a NumPy array."),
        (np.ones(3), np.ones((1, 3)), "has shape (1, 3), but should have (3,)"),
        (np.ones(3), np.ones(3, np.float32), "is of dtype float32, but should be float64."),
        (np.ones(3), np.array([1, 2, 1.0]), "the first is at [1]: yours is 2, expected 1."),
        (np.ones(1), np.array(["a"]), "type ndarray, but should be a NumPy array."),
    ],
)
def test_numbers_and_arrays_are_compared(expected, got, told):
    exercise = Exercise("number", lambda: expected)
    part = exercise.part("number", 1, lambda draw: [()])
    assert told in part.diagnose(lambda: got)
    assert part.diagnose(lambda: expected) is None
    assert difference(expected, None).startswith("your function returned None.")


def test_another_precision_of_a_number_is_right():
    part = Exercise("share", lambda: 0.25).part("share", 1, lambda draw: [()])
    assert part.diagnose(lambda: np.float32(0.25)) is None
    count = Exercise("count", lambda: 3).part("count", 1, lambda draw: [()])
    assert count.diagnose(lambda: np.int64(3)) is None


def test_too_low_a_precision_is_not_taken_for_a_mistake_that_this_part_cannot_see():
    """A cache that ignored its dtype was told about cropping, which the part never does."""
    exercise = Exercise("doubled", lambda x: 2 * x)
    part = exercise.part("doubled", 1, lambda draw: [(draw(3),), (draw(3).double(),)])
    exercise.misconception(lambda x: 2 * x)
    told = part.diagnose(lambda x: 2 * x.float())
    assert "of dtype float32, but should be float64" in told
    assert told.startswith("Called with x float64 (3,)")


def test_an_attribute_of_ones_own_is_missed_in_what_stands_in():
    exercise = Exercise("outer", lambda q, k: q, uses=(softmax_exercise,))
    part = exercise.part("outer", 1, lambda draw: [(draw(3), draw(3))])

    def student(q, k):
        return q.mine

    assert "right versions of softmax stand in for yours" in part.diagnose(student)
    assert "right versions" not in scores.diagnose(student)


def test_leaving_python_is_no_way_out():
    def student(q, k):
        sys.exit(0)

    assert "your code raised SystemExit" in scores.diagnose(student)


def test_the_parts_of_an_exercise_decide_between_misconceptions():
    """Two mistakes look alike to one part; the other part tells which it is."""
    exercise = Exercise("shifted", lambda x, by: x + by)
    first = exercise.part("first", 1, lambda draw: [(draw(3), 2)])
    exercise.part("second", 1, lambda draw: [(draw(3), 3)])
    exercise.misconception(twice)
    exercise.misconception(squared)
    assert first.diagnose(lambda x, by: x + 2 * by).startswith("You add it twice.")
    assert first.diagnose(lambda x, by: x + by * by).startswith("You add its square.")


def twice(x, by):
    """You add it twice."""
    return x + by + by


def squared(x, by):
    """You add its square."""
    return x + by**2
