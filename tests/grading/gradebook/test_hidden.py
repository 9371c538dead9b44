"""Hidden tests stay hidden: their lines, their values, and what they print of themselves."""

import nbformat.v4 as v4
import pytest
from jupyter_client.manager import start_new_kernel
from nbformat import NotebookNode

from tutor_lib.grading.gradebook.hidden import FAILED, HiddenTests

TESTS = HiddenTests("BEGIN HIDDEN TESTS", "END HIDDEN TESTS")
SOURCE = """\
class NotYet(AssertionError):
    def _render_traceback_(self):
        return str(self).splitlines()
def same(a, b):
    assert a == b, f"{a} is not {b}"
same(f(1), 2)
### BEGIN HIDDEN TESTS
same(f(1234), 5678)  # SECRET
hint(f)
### END HIDDEN TESTS
same(f(3), 6)"""


LIAR = """
def f(x):
    if x == 1234:
        raise ValueError("\\nCell In[1], line 6\\n5678")
    return 2 * x
"""


def cell(*outputs, source=SOURCE, **flags):
    about = {"grade": True, "solution": False, "locked": True, "grade_id": "x"} | flags
    made = v4.new_code_cell(source, metadata={"nbgrader": about})
    made.outputs = [NotebookNode(output) for output in outputs]
    return made


@pytest.fixture(scope="module")
def run():
    """Run code as a notebook does, and catch its errors."""
    manager, client = start_new_kernel()

    def ran(source):
        caught = []

        def hook(message):
            if message["msg_type"] == "error":
                caught.append({"output_type": "error", **message["content"]})

        client.execute_interactive(source, output_hook=hook, timeout=60)
        return caught

    yield ran
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def told(made):
    return "\n".join(TESTS.shown(made).outputs[-1].traceback)


def test_the_source_loses_its_hidden_lines():
    shown = TESTS.shown(cell()).source
    assert shown == "\n".join(SOURCE.split("\n")[:6] + SOURCE.split("\n")[10:])


@pytest.mark.parametrize(
    ("source", "numbers"),
    [
        ("", set()),
        ("a\nb", set()),
        ("### BEGIN HIDDEN TESTS\na\n### END HIDDEN TESTS\nb", {1, 2, 3}),
        ("a\n### BEGIN HIDDEN TESTS\nb\nc", {2, 3, 4}),
        ("### BEGIN HIDDEN TESTS\n### BEGIN HIDDEN TESTS\n### END HIDDEN TESTS\nb", {1, 2, 3}),
        ("### END HIDDEN TESTS\na", set()),
        ("a # BEGIN HIDDEN TESTS\nb\n# END HIDDEN TESTS\nc\n# BEGIN HIDDEN TESTS", {1, 2, 3, 5}),
    ],
)
def test_regions(source, numbers):
    assert TESTS.numbers(source) == numbers


def test_a_hidden_tests_error_says_only_that(run):
    """The error's frames show lines around it, and its message the value that was expected."""
    run("f = lambda x: 2 * x")
    [error] = run(SOURCE)
    assert "5678" in str(error)
    assert told(cell(error)) == FAILED


def test_a_visible_tests_error_says_where_and_what(run):
    """IPython shows the lines below it too, and they may be hidden ones."""
    run("f = lambda x: 3")
    [error] = run(SOURCE)
    assert "SECRET" in str(error)
    assert told(cell(error)) == "same(f(1), 2)\nAssertionError: 3 is not 2"


def test_a_missing_answer_is_told(run):
    [error] = run("undefined_name(1)\n" + SOURCE)
    shown = told(cell(error, source="undefined_name(1)\n" + SOURCE))
    assert shown == "undefined_name(1)\nNameError: name 'undefined_name' is not defined"


@pytest.mark.parametrize("line", ["", "### BEGIN HIDDEN TESTS\n"])
def test_a_checks_own_words_are_shown_in_full(run, line):
    words = "✗ f: not yet.\n\nYou forgot to divide."
    source = SOURCE.split("same(f(1)")[0] + line + f"raise NotYet({words!r})"
    [error] = run(source)
    assert told(cell(error, source=source)) == words


def test_a_message_that_names_a_visible_line_hides_nothing(run):
    """What a student's function raises in a hidden test may be made to look like a frame."""
    run(LIAR)
    [error] = run(SOURCE)
    assert "Cell In[1], line 6\\n5678" in repr(error["traceback"][-1])
    assert told(cell(error)) == FAILED
    error["traceback"] = error["traceback"][-1:]
    assert told(cell(error)) == FAILED


def test_an_error_without_frames_is_taken_for_a_hidden_one():
    error = {"output_type": "error", "ename": "AssertionError", "evalue": "5678 is expected",
             "traceback": ["AssertionError: 5678 is expected"]}  # fmt: skip
    assert told(cell(error)) == FAILED
    assert told(cell(error, source="same(f(1), 2)")) == "AssertionError: 5678 is expected"


def test_printed_lines_of_hidden_tests_are_left_out():
    """A warning shows the line that it comes from."""
    warning = "x.py:8: UserWarning: odd\n  same(f(1234), 5678)  # SECRET\nrest\n"
    stream = {"output_type": "stream", "name": "stderr", "text": warning}
    [kept] = TESTS.shown(cell(stream)).outputs
    assert kept.text == "x.py:8: UserWarning: odd\nrest\n"


def test_other_cells_are_shown_as_they_are():
    own = cell(solution=True, locked=False, grade=False)
    assert TESTS.shown(own) is own
    words = v4.new_markdown_cell("BEGIN HIDDEN TESTS")
    assert TESTS.shown(words) is words
