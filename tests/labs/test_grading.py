"""nbgrader scores the attention lab as it should: every command, real submissions."""

import html
import re

import pytest
from nbgrader.api import Gradebook

from tutor_lib.checks.attention import LAB

TWO_RIGHT = ("softmax", "causal_mask")
MISTAKES = {
    "attention_scores": "def attention_scores(q, k):\n    return q @ k.transpose(-2, -1)\n",
    "causal_mask": "def causal_mask(T):\n    return torch.ones(T, T).triu(1).bool()\n",
    "attention": """def attention(q, k, v, mask=None):
    weights = softmax(q @ k.mT / math.sqrt(q.size(-1)), dim=-1)
    if mask is not None:
        weights = weights * mask
    return weights @ v, weights
""",
}
# Right, but noisy: stock nbgrader scores any line on stderr as a failed test.
NOISY = """def softmax(x, dim):
    import sys, warnings
    warnings.warn("a warning is no mistake")
    print("nor is a line on stderr", file=sys.stderr)
    return torch.exp(x - torch.logsumexp(x, dim, keepdim=True))
"""
LOOPS = """def attention(q, k, v, mask=None):
    scores = torch.einsum("...td,...sd->...ts", q, k) / math.sqrt(q.shape[-1])
    if mask is not None:
        scores = scores.masked_fill(mask == False, -1e9)
    weights = softmax(scores, -1)
    output = sum(weights[..., s, None] * v[..., s, None, :] for s in range(k.shape[-2]))
    return output, weights
"""
MANUAL = 2.5  # what a person gives the model answer to the question


@pytest.fixture(scope="module")
def graded(course):
    """Five submissions: handed in, graded by machine and by hand, returned and exported."""
    right = course.answers()
    course.submit("solution", right)
    course.submit("untouched", {})
    course.submit("two_parts", {name: right[name] for name in TWO_RIGHT})
    course.submit("mistaken", right | MISTAKES)
    course.submit("other_ways", right | {"softmax": NOISY, "attention": LOOPS})
    course.nbgrader("autograde", course.lab)
    grade_by_hand(course, "solution")
    course.nbgrader("generate_feedback", course.lab)
    course.nbgrader("export")
    return course


def gradebook(course):
    return Gradebook(f"sqlite:///{course.folder / 'gradebook.db'}")


def grade_by_hand(course, student):
    with gradebook(course) as book:
        grade = book.find_grade("why_sqrt_d", course.lab, course.lab, student)
        assert grade.needs_manual_grade
        grade.manual_score = MANUAL
        book.db.commit()


FULL = {name: part.points for name, part in LAB.parts.items()}
CHECKED = sum(FULL.values())


def parts_of(*exercises):
    """The parts of these exercises."""
    return {part.name for name in exercises for part in LAB.exercises[name].parts}


def test_the_solution_scores_everything(graded):
    assert graded.scores("solution") == FULL | {"why_sqrt_d": None}


def test_the_untouched_release_scores_nothing(graded):
    assert graded.scores("untouched") == dict.fromkeys([*FULL, "why_sqrt_d"], 0)


def test_two_right_parts_score_these_two(graded):
    right = parts_of(*TWO_RIGHT)
    earned = {name: points if name in right else 0 for name, points in FULL.items()}
    assert graded.scores("two_parts") == earned | {"why_sqrt_d": 0}


def test_mistakes_cost_their_own_parts(graded):
    lost = dict.fromkeys(parts_of("attention_scores", "causal_mask") | {"attention_mask"}, 0)
    assert graded.scores("mistaken") == FULL | lost | {"why_sqrt_d": None}


def test_right_answers_of_other_make_ups_score_everything(graded):
    assert graded.scores("other_ways") == FULL | {"why_sqrt_d": None}


def test_the_table_of_grades(graded):
    two = sum(FULL[name] for name in parts_of(*TWO_RIGHT))
    assert graded.grades() == {
        "solution": CHECKED + MANUAL,
        "untouched": 0,
        "two_parts": two,
        "mistaken": CHECKED - 6,
        "other_ways": CHECKED,
    }


def text_of(page):
    """What a reader of the page sees, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


@pytest.mark.parametrize(
    ("student", "score", "hints"),
    [
        ("solution", CHECKED + MANUAL, ["✓ attention: right, 2 points.",
                                        f"{CHECKED} of {CHECKED} points so far"]),
        ("untouched", 0, ["✗ softmax: not yet. It is not written yet."]),
        ("two_parts", 4, ["✓ softmax: right, 1 point.", "✗ attention_scores: not yet."]),
        ("mistaken", CHECKED - 6, ["Your scores equal what you get without dividing by √D.",
                         "Your mask is the exact opposite",
                         "You set weights to 0 after softmax"]),
    ],
)  # fmt: skip
def test_feedback_shows_score_and_hint(graded, student, score, hints):
    page = text_of(graded.feedback(student))
    assert f"attention (Score: {float(score)} / {CHECKED + 3}.0)" in page
    for hint in hints:
        assert hint in page


def test_the_closing_part_runs_on_the_trained_model(graded):
    page = text_of(graded.feedback("solution"))
    # With the measured difference before it: the sentence alone stands in the code as well.
    assert re.search(r"model's: \d\.\de-\d\d Your layer is the model's layer\.", page)


def test_validate_passes_the_solution(graded):
    done = graded.nbgrader("validate", "submitted/solution/attention/attention.ipynb")
    assert done.stdout == "Success! Your notebook passes all the tests.\n"


def test_validate_names_what_is_missing_in_the_release(course):
    done = course.nbgrader("validate", "labs/attention/attention.ipynb")
    assert f"VALIDATION FAILED ON {len(FULL) + 1} CELL(S)!" in done.stdout
    for name in FULL:
        assert f'check("{name}", ' in done.stdout
        assert f"✗ {name}: not yet." in done.stdout
    assert "You did not provide a response." in done.stdout
