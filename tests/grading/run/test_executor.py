"""Two kernels, and what a student's can do to the judge's: nothing but answer."""

import time

import pytest

from tests.grading.run.small import both, codes, descendants, errors, judged, student, text
from tutor_lib.grading.limits import MIB, Limits

pytestmark = pytest.mark.xdist_group("executor")  # one sandbox for all


def test_only_a_test_that_ends_without_an_error_is_finished(run):
    result = run(
        student("def double(x): return 2 * x"),
        judged("assert double(21) == 42", "double"),
        judged("assert double(21) == 43", "double"),
        judged("double(4)", "double"),
        student("double(1)"),
    )
    assert result.finished == {"test1", "test3"}
    assert errors(result, 2) == ["AssertionError"]
    assert result.outputs[3][0]["data"]["text/plain"] == "8"
    assert result.outputs[4][0]["data"]["text/plain"] == "2"
    assert codes(result) == []


def test_each_kernel_runs_what_is_its_own(run):
    result = run(
        both("shared = 1"),
        student("shared += 1; mine = 5"),
        judged("ours = shared; assert 'mine' not in globals()"),
        student("print(shared, 'ours' in globals())"),
        judged("assert ours == shared == 1"),
    )
    assert result.finished == {"test2", "test4"}
    assert text(result, 3) == "2 False\n"


def test_text_cells_and_empty_cells_take_their_places(run):
    result = run(student("print(1)"), student("  \n"), student("print(2)"))
    assert len(result.outputs) == 3
    assert [text(result, place) for place in range(3)] == ["1\n", "", "2\n"]


def test_a_result_is_the_same_each_time(run):
    cells = [
        student(
            "import random\nprint(random.random(), hash('x'))\ndef roll(): return random.random()"
        ),
        judged("print(roll())", "roll"),
    ]
    first, second = run(*cells), run(*cells)
    assert first.outputs == second.outputs
    assert text(first, 0)


def test_what_the_student_prints_while_it_is_judged_is_left_out(run):
    """It could tell what a hidden test passes on."""
    result = run(
        student("import sys\ndef f(x):\n    print(x)\n    print(x, file=sys.stderr)"),
        judged("f(31337)\nprint('judged')", "f"),
    )
    assert [(o["name"], o["text"]) for o in result.outputs[1]] == [("stdout", "judged\n")]


def test_files_lie_beside_the_student_alone(run):
    result = run(
        student("def f(): return open('data/a.txt').read()"),
        judged("import os\nassert f() == 'hello' and not os.path.exists('data')", "f"),
        files={"data/a.txt": b"hello"},
    )
    assert result.finished == {"test1"}


def test_the_seed_is_told(run):
    result = run(student("import os\nprint(os.environ['TUTOR_SEED'])"), seed="zoë/probe")
    assert text(result, 0) == "zoë/probe\n"


def test_what_was_finished_before_the_end_stays(run):
    result = run(
        student("def f(): return 1"),
        judged("assert f() == 1", "f"),
        student("import os; os._exit(3)"),
        judged("assert f() == 1", "f"),
        student("print('still here')"),
    )
    assert result.finished == {"test1"}
    assert codes(result) == ["died"]
    assert errors(result, 3) == ["NotRun"]
    assert result.outputs[4] == ()


def test_it_ends_while_it_is_judged(run):
    result = run(
        student("import os\ndef f(): os._exit(3)\ndef g(): return 1"),
        judged("f()", "f"),
        judged("assert g() == 1", "g"),
    )
    assert result.finished == frozenset()
    assert codes(result) == ["died"]
    assert errors(result, 1) == ["StudentGone"]


def test_an_interrupted_call_leaves_the_rest(run):
    result = run(
        student("def f():\n    while True: pass\ndef g(): return 1"),
        judged("f()", "f"),
        judged("assert g() == 1", "g"),
        limits=Limits(cell_seconds=1),
    )
    assert result.finished == {"test2"}
    assert codes(result) == ["cell-time"]


def test_a_judge_that_hangs_ends_too(run):
    """Its lab's fault: nobody scores, and the batch goes on."""
    start = time.monotonic()
    result = run(judged("while True: pass"), judged("x = 1"), limits=Limits(cell_seconds=1))
    assert "test0" not in result.finished
    assert "cell-time" in codes(result)
    assert time.monotonic() - start < 40


def test_a_judge_that_dies_scores_nothing(run):
    result = run(judged("import os; os._exit(1)"), judged("x = 1"), both("y = 1"))
    assert result.finished == frozenset()
    assert "died" in codes(result)


def test_both_are_gone_and_there_is_a_result(run):
    """A set-up cell after both kernels had ended was once an error of grading itself."""
    result = run(
        judged("import os; os._exit(1)"),
        student("import os; os._exit(1)"),
        both("y = 1"),
        judged("y"),
    )
    assert result.finished == frozenset()
    assert {*codes(result)} == {"died"}


def test_a_set_up_that_fails_is_no_fault_of_the_students(run):
    assert codes(run(both("1 / 0"), judged("x = 1"))) == ["grader"]


def test_the_notebooks_time_is_up(run):
    slow = [student("import time; time.sleep(0.6)")] * 6
    limits = Limits(cell_seconds=5, notebook_seconds=2)
    result = run(judged("x = 1"), *slow, judged("x = 1"), limits=limits)
    assert result.finished == {"test0"}
    assert {*codes(result)} == {"notebook-time"}


def test_one_slow_cell_is_told_by_its_own_limit(run):
    result = run(
        student("import time; time.sleep(60)"),
        judged("x = 1"),
        limits=Limits(cell_seconds=1, notebook_seconds=60),
    )
    assert codes(result) == ["cell-time"]
    assert result.finished == {"test1"}
    assert "longer than 1 seconds" in result.notes[0].told


def test_no_answer_to_the_judge_is_not_waited_for(run):
    """A kernel that says `ok` without serving once cost the whole time of a cell."""
    start = time.monotonic()
    result = run(
        student("get_ipython().input_transformers_cleanup.append(lambda lines: ['pass'])"),
        student("def f(): return 1"),
        judged("assert f() == 1", "f"),
        limits=Limits(cell_seconds=60),
    )
    assert result.finished == frozenset()
    assert codes(result) == ["protocol"]
    assert time.monotonic() - start < 30


FLOODS = {
    "one line": "import sys\nwhile True: sys.stdout.write('x' * 300)",
    "many messages": "for n in range(10**6): display(n)",
    "one huge message": "display({'text/plain': 'x' * (20 << 20)}, raw=True)",
    "nobody's messages": "k = get_ipython().kernel\n"
    "while True: k.session.send(k.iopub_socket, 'stream', {'name': 'stdout', 'text': 'x'})",
}


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_is_stopped_and_the_next_cell_is_heard(run, name):
    result = run(student(FLOODS[name]), student("print('next')"), judged("x = 1"))
    assert codes(result) == ["output"]
    assert len(str(result.outputs)) < 300_000
    assert result.finished == {"test2"}
    assert text(result, 1) == "next\n"


def test_a_flood_in_the_background_is_told(run):
    """No interrupt stops a thread. Whether the kernel outlives it is a matter of its haste."""
    flood = "import threading\n"
    flood += (
        "threading.Thread(target=lambda: [print(n) for n in range(10**6)], daemon=True).start()\n"
    )
    result = run(student(flood + "import time; time.sleep(60)"), judged("x = 1"))
    assert {*codes(result)} == {"output"}
    assert len(str(result.outputs)) < 300_000
    assert result.finished <= {"test1"}
    assert result.seconds["total"] < 30


def test_a_flood_that_will_not_stop_is_ended(run):
    """Each interrupt once led to a new count of what was printed, and never to the end."""
    source = """import time
while True:
    try:
        while True:
            print("x" * 1000)
            time.sleep(0.001)
    except BaseException:
        pass"""
    start = time.monotonic()
    result = run(student(source), judged("x = 1"), limits=Limits(output_bytes=50_000))
    assert codes(result) == ["output"]
    assert result.finished == frozenset()
    assert time.monotonic() - start < 30


def test_messages_that_are_none_are_passed_over(run):
    """A message whose parent was a list once ended grading itself."""
    source = """import json
kernel = get_ipython().kernel
header = {"msg_id": "1", "msg_type": "stream", "date": "", "version": "5"}
for parent in ([], 7, None, "x", {"msg_id": []}):
    parts = [json.dumps(p).encode() for p in (header, parent, {}, {"name": "stdout", "text": "x"})]
    for socket in (kernel.iopub_socket, kernel.shell_stream.socket):
        socket.send_multipart([b"x", b"<IDS|MSG>", kernel.session.sign(parts), *parts])
"""
    result = run(student(source), student("print('next')"), judged("x = 1"))
    assert result.finished == {"test2"}
    assert text(result, 1) == "next\n"


def test_nothing_is_left_of_a_bundle(run):
    before = {process.pid for process in descendants()}
    run(student("import os, time\nif os.fork() == 0: time.sleep(600)"), judged("x = 1"))
    now = {process.pid for process in descendants()}
    assert len(now - before) <= 2  # the template, if this was the first


def test_memory_of_all_processes_is_limited(run):
    result = run(student("import time\nx = bytearray(200 << 20)\ntime.sleep(9)"), judged("x = 1"),
                 limits=Limits(memory_bytes=100 * MIB))  # fmt: skip
    assert codes(result) == ["memory"]


def test_of_tests_in_a_row_the_right_one_is_told(run):
    """The student's kernel serves them all at once."""
    result = run(
        student("import os\ndef f(x):\n    if x == 2: os._exit(3)\n    return x"),
        judged("assert f(1) == 1", "f"),
        judged("assert f(2) == 2", "f"),
        judged("assert f(3) == 3", "f"),
    )
    assert result.finished == {"test1"}
    assert [(note.code, note.cell) for note in result.notes] == [("died", "test2")]
    assert errors(result, 3) == ["NotRun"]


def test_what_tests_in_a_row_print_is_counted_for_each(run):
    result = run(
        student("def f(): print('x' * 60_000)"),
        *[judged("f()", "f")] * 4,
        limits=Limits(output_bytes=100_000),
    )
    assert result.finished == {"test1", "test2", "test3", "test4"}
    assert codes(result) == []


def test_tests_in_a_row_do_not_see_each_others_names(run):
    result = run(
        student("def f(): return 1\ndef g(): return 2"),
        judged("assert f() == 1", "f"),
        judged("assert 'f' not in globals() and g() == 2", "g"),
        student("print('after')"),
        judged("assert g() == 2", "g"),
    )
    assert result.finished == {"test1", "test2", "test4"}
    assert text(result, 3) == "after\n"
