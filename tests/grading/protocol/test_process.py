"""The real thing: the student's side in a process of its own."""

import contextlib
import operator
import os
import signal
import socket
import sys
import threading
import time
import types
from pathlib import Path

import pytest
import torch

from tutor_lib.grading.protocol import judge
from tutor_lib.grading.protocol.judge import StudentGone


def lent(*names: str) -> dict:
    namespace: dict = {}
    judge.lend(names, namespace)
    return namespace


@contextlib.contextmanager
def interrupted(number: int, path: Path):
    """Interrupt a process as soon as the file is there, which the student's code makes."""

    def wait() -> None:
        while not path.exists():
            time.sleep(0.01)
        os.kill(number, signal.SIGINT)

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()
    path.unlink()


STUDENT = """
    import os, time

    class Box:
        def __init__(self, value): self.value = value

    def sleep(seconds, path):
        open(path, "w").close(); time.sleep(seconds)
        return "slept"

    def sleep_well(seconds, path):
        try:
            open(path, "w").close()
            time.sleep(seconds)
        except KeyboardInterrupt:
            return "woken"

    def big_later(n, *times):
        sleep(*times)
        return bytes(n)

    def big(n): return bytes(n)
    def size(x): return len(x)
    def leave(code): os._exit(code)
    def nap(f, seconds, path):
        sleep(seconds, path)
        return f(seconds)
    def same(x): return x
    number = 3
"""
SLEEP = 1 + next(i for i, line in enumerate(STUDENT.splitlines()) if "time.sleep" in line)

WITH_TORCH = """
    import torch

    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.eye(3))
        def forward(self, x): return x @ self.weight

    torch.allclose = torch.equal = lambda *a, **k: True
    number = 3
"""


@pytest.fixture
def theirs(process):
    return process(STUDENT)


def test_a_test_cell_from_beginning_to_end(process):
    theirs = process(WITH_TORCH)
    namespace = {"number": "old", "missing": "old", "other": "kept"}
    judge.lend(["Layer", "number", "missing"], namespace)
    assert namespace["number"] == 3
    assert "missing" not in namespace
    x = torch.randn(2, 3)
    assert torch.equal(namespace["Layer"]()(x), x)
    assert not torch.equal(namespace["Layer"]()(x), x + 1)  # patched over there, not here
    beside = namespace["Layer"]().__beside__
    assert beside(operator.attrgetter)("weight.shape")(namespace["Layer"]()) == (3, 3)
    assert beside(torch.nn.Linear)(2, 3)(torch.ones(1, 2)).shape == (1, 3)
    judge.done(namespace)
    assert namespace == {"other": "kept"}
    assert theirs.stdout.readline() == "served\n"


def test_the_next_cell_may_use_what_an_earlier_one_made(theirs):
    box = lent("Box")["Box"](7)
    judge.done({})
    assert theirs.stdout.readline() == "served\n"
    theirs.stdin.write("again\n")
    theirs.stdin.flush()
    assert box.value == 7
    assert isinstance(box, lent("Box")["Box"])


def test_large_frames_go_both_ways(theirs):
    names = lent("big", "size", "same")
    for n in (1 << 16, (1 << 20) + 1, 30 << 20):
        assert names["size"](bytes(n)) == n
        assert names["big"](n) == bytes(n)
    both = bytes(range(256)) * 100_000
    assert names["same"](both) == both
    with pytest.raises(RuntimeError, match="268,435,456 bytes"):
        names["big"](257 << 20)
    with pytest.raises(judge.WireError, match="268,435,456 bytes"):
        names["size"](torch.zeros(1).expand(1 << 30))
    assert names["size"]([1]) == 1


def test_an_interrupt_there_is_an_error_here_and_serving_goes_on(theirs, tmp_path):
    names, asleep = lent("sleep", "sleep_well", "same"), tmp_path / "asleep"
    for _ in range(2):
        with interrupted(theirs.pid, asleep), pytest.raises(RuntimeError) as caught:
            names["sleep"](60, str(asleep))
        assert caught.value.student_type == "KeyboardInterrupt"
        assert caught.value.place[:2] == ("sleep", SLEEP)
    with interrupted(theirs.pid, asleep):
        assert names["sleep_well"](60, str(asleep)) == "woken"
    assert names["same"](1) == 1


def test_interrupts_there_at_any_time_leave_the_link_usable(theirs):
    """Many short calls, many interrupts: some come while a message is in pieces."""
    names, over, errors = lent("same"), threading.Event(), []

    def interrupt():
        while not over.wait(0.002):
            os.kill(theirs.pid, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    for n in range(1000):
        try:
            assert names["same"](n) == n
        except RuntimeError as error:
            errors.append(error.student_type)
    over.set()
    thread.join()
    assert {*errors} <= {"KeyboardInterrupt"}
    assert len(errors) < 1000


def test_interrupts_here_at_any_time_leave_the_link_usable(theirs):
    names, interrupts = lent("same"), 0
    callback = [].append
    for n in range(150):
        try:
            # Each a little later than the one before: over the whole of a call and back.
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + n * 4e-6)
            for m in range(5):
                assert names["same"](m) == m
                assert names["same"](callback) is callback
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupts += 1
    assert names["same"]("at the end") == "at the end"
    assert interrupts > 50


@pytest.fixture(autouse=True)
def alarms_are_interrupts():
    """A timer of the process's own, finer than a thread's."""
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    yield
    signal.signal(signal.SIGALRM, before)


def test_an_interrupt_here_gives_a_call_up(theirs, tmp_path):
    """Its answer comes later, and is thrown away."""
    names, asleep = lent("sleep", "same"), tmp_path / "asleep"
    with interrupted(os.getpid(), asleep), pytest.raises(KeyboardInterrupt):
        names["sleep"](0.5, str(asleep))
    assert names["same"]("new") == "new"
    judge.done({})
    assert theirs.stdout.readline() == "served\n"


def test_a_large_answer_that_nobody_waits_for_blocks_nothing(theirs, tmp_path):
    """Both sides would wait to be heard, if the next large question went before it."""
    names, asleep, large = lent("big_later", "size"), tmp_path / "asleep", 20 << 20
    with interrupted(os.getpid(), asleep), pytest.raises(KeyboardInterrupt):
        names["big_later"](large, 0.3, str(asleep))
    assert names["size"](bytes(large)) == large


def test_a_call_that_was_given_up_calls_no_function_of_the_judge(theirs, tmp_path):
    names, asleep, called = lent("nap", "same"), tmp_path / "asleep", []
    with interrupted(os.getpid(), asleep), pytest.raises(KeyboardInterrupt):
        names["nap"](called.append, 0.5, str(asleep))
    assert names["same"](1) == 1
    assert called == []


def test_an_interrupt_of_a_function_of_the_judge_is_the_judges(theirs, tmp_path):
    names, asleep = lent("nap", "same"), tmp_path / "asleep"

    def slow(_):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        names["nap"](slow, 0, str(asleep))
    assert names["same"](1) == 1


def test_done_waits_for_a_call_that_was_given_up(theirs, tmp_path):
    names, asleep = lent("sleep"), tmp_path / "asleep"
    with interrupted(os.getpid(), asleep), pytest.raises(KeyboardInterrupt):
        names["sleep"](0.5, str(asleep))
    judge.done(names)
    assert names == {}
    assert theirs.stdout.readline() == "served\n"


def test_who_leaves_is_gone(theirs):
    names = lent("leave", "same")
    with pytest.raises(StudentGone, match="does not answer"):
        names["leave"](3)
    with pytest.raises(StudentGone, match="does not answer"):
        names["same"](3)
    with pytest.raises(StudentGone):
        judge.lend(["same"], names)
    judge.done(names)
    assert names == {}


def test_a_student_who_closes_all_files_is_gone(process):
    process("""
        import os
        def close():
            for number in range(3, 256):
                if number != int(os.environ["TUTOR_LINK"]):
                    try:
                        os.close(number)
                    except OSError:
                        pass
    """)
    with pytest.raises(StudentGone):
        lent("close")["close"]()


def test_when_the_judge_hangs_up_serving_ends(theirs, link):
    lent("same")
    link.ours.shutdown(socket.SHUT_RDWR)
    assert theirs.stdout.readline() == "served\n"
    theirs.stdin.write("again\n")
    theirs.stdin.flush()
    assert theirs.stdout.readline() == "served\n"  # at once


def test_a_function_that_is_not_there_is_named(theirs, monkeypatch):
    module = types.ModuleType("only_here")
    exec("def f(x): return x", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    names = lent("same")
    with pytest.raises(RuntimeError, match="only_here"):
        names["same"](module.f)
    assert names["same"](1) == 1
