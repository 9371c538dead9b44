"""Points: nbgrader's on honest cells, and nothing for what is no proof."""

import nbformat.v4 as v4
import pytest
from nbformat import NotebookNode
from nbgrader.utils import compute_checksum, determine_grade

from tutor_lib.grading.gradebook.scores import comment, score


def cell(*outputs, kind="code", points=4, checksum=None, **flags):
    about = {"grade": True, "solution": False, "locked": True, "task": False,
             "grade_id": "part", "points": points} | flags  # fmt: skip
    made = v4.new_code_cell("f()") if kind == "code" else v4.new_markdown_cell("words")
    made.metadata.nbgrader = NotebookNode(about)
    if kind == "code":
        made.outputs = [NotebookNode(output) for output in outputs]
    if checksum:
        made.metadata.nbgrader.checksum = compute_checksum(made) if checksum == "own" else checksum
    return made


def result(text):
    return NotebookNode(output_type="execute_result", data={"text/plain": text}, metadata={})


def stream(name="stdout", text="hello"):
    return NotebookNode(output_type="stream", name=name, text=text)


ERROR = NotebookNode(output_type="error", ename="AssertionError", evalue="", traceback=[])
PICTURE = NotebookNode(output_type="display_data", data={"image/png": "iVBOR"}, metadata={})
ANSWER = {"locked": False, "solution": True}
HONEST = {
    "silent": cell(),
    "printed": cell(stream()),
    "drawn": cell(PICTURE),
    "wrong": cell(stream(), ERROR),
    "part": cell(stream(), result("2.5")),
    "nothing": cell(result("0")),
    "all": cell(result("4")),
    "no points": cell(points=0),
    "unchanged answer": cell(kind="markdown", checksum="own", **ANSWER),
    "answer": cell(kind="markdown", checksum="another", **ANSWER),
    "answer without checksum": cell(kind="markdown", **ANSWER),
    "unchanged code": cell(checksum="own", **ANSWER),
    "code": cell(ERROR, checksum="another", **ANSWER),
    "locked words": cell(kind="markdown"),
}


@pytest.mark.parametrize("name", HONEST)
def test_honest_cells_score_as_in_nbgrader(name):
    expected, _ = determine_grade(HONEST[name])
    assert score(HONEST[name], finished=True) == (expected, None)


def test_a_warning_costs_nothing():
    """Stock nbgrader gives 0 for any line on stderr."""
    warned = cell(stream("stderr", "UserWarning: careful"), result("3"))
    assert determine_grade(warned)[0] == 0
    assert score(warned, finished=True).points == 3


@pytest.mark.parametrize(
    "text",
    ["-1", "nan", "inf", "-inf", "1e999", "4.0000001", "1e6", "[4]", "[1, 2]", "'4'", "True", "",
     "4 points", "tensor(4.)", "4\n4", "９" * 3, None, ["4"], ["1", "2"], 4, {"a": 1}],
)  # fmt: skip
def test_what_is_no_number_from_0_to_the_points_is_nothing(text):
    """Stock nbgrader gives full marks for most of these, and stops the submission for others."""
    points, note = score(cell(result(text)), finished=True)
    assert points == 0
    assert (note.code, note.cell) == ("score", "part")


@pytest.mark.parametrize("data", [{}, {"text/html": "<b>4</b>"}])
def test_a_result_without_text_is_nothing(data):
    output = NotebookNode(output_type="execute_result", data=data, metadata={})
    assert score(cell(output), finished=True).points == 0


def test_two_results_are_no_result():
    assert score(cell(result("4"), result("4")), finished=True).points == 0


def test_an_error_after_a_result_counts():
    assert score(cell(result("4"), ERROR), finished=True) == (0, None)


@pytest.mark.parametrize("name", ["silent", "printed", "all", "part"])
def test_what_was_not_run_to_its_end_scores_nothing(name):
    assert score(HONEST[name], finished=False) == (0, None)


@pytest.mark.parametrize("text", ["-0.0", "-0"])
def test_minus_zero_is_zero(text):
    points, note = score(cell(result(text)), finished=True)
    assert (str(points), note) == ("0.0", None)


def test_a_task_is_no_graded_cell():
    with pytest.raises(ValueError, match="not a graded cell: 'words'"):
        score(cell(kind="markdown", grade=False, task=True), finished=True)


def test_comments_are_those_of_nbgrader():
    assert comment(HONEST["unchanged answer"]) == "No response."
    assert comment(HONEST["answer"]) is None
    assert comment(cell(kind="markdown", grade=False, task=True, checksum="own")) is None
