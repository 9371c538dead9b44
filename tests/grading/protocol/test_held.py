"""Interrupts at the worst moments, one at a time."""

import os
import signal
import threading

import pytest

from tutor_lib.grading.protocol import far, judge, wire
from tutor_lib.grading.protocol.held import Held, let_through
from tutor_lib.grading.protocol.link import Link


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def held(done: list[str], interrupts: int = 1) -> None:
    with Held():
        done.append("begun")
        for _ in range(interrupts):
            interrupt()
        done.append("ended")


def test_a_held_interrupt_is_raised_at_the_end():
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        held(done)
    assert done == ["begun", "ended"]
    held(done, interrupts=0)
    assert len(done) == 4


def test_a_second_interrupt_is_raised_at_once():
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        held(done, interrupts=2)
    assert done == ["begun"]


def test_an_error_goes_before_an_interrupt():
    def fails():
        with Held():
            interrupt()
            raise ValueError("why")

    with pytest.raises(ValueError, match="why"):
        fails()


def test_a_block_within_a_block_waits_for_the_outer_end():
    done: list[str] = []

    def nested():
        with Held():
            held(done)
            done.append("outer")

    with pytest.raises(KeyboardInterrupt):
        nested()
    assert done == ["begun", "ended", "outer"]


def test_an_interrupt_is_let_through_or_dropped():
    done = []

    def block(when: bool):
        with let_through(lambda: when):
            interrupt()
            done.append(when)

    block(False)
    with pytest.raises(KeyboardInterrupt):
        block(True)
    assert done == [False]


@pytest.mark.parametrize("handler", [signal.default_int_handler, signal.SIG_IGN, signal.SIG_DFL])
def test_the_handler_is_put_back(handler):
    before = signal.signal(signal.SIGINT, handler)
    with Held():
        pass
    with let_through(lambda: True), Held():
        pass
    assert signal.signal(signal.SIGINT, before) is handler


def test_in_another_thread_a_block_is_like_any_other():
    done = []

    def block():
        with let_through(lambda: True), Held():
            done.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert done == [signal.getsignal(signal.SIGINT)]


def test_an_interrupt_of_the_student_that_comes_too_late_changes_nothing(link, monkeypatch):
    """It comes while the answer is packed: the student's code has run already."""
    pack, answers = wire.pack, []

    def packed(kind, *about):
        if kind == "told" and threading.current_thread() is threading.main_thread():
            interrupt()
        return pack(kind, *about)

    def ask():
        names: dict = {}
        judge.lend(["same"], names)
        try:
            answers.extend([names["same"](1), names["same"](2)])
        finally:
            judge.done(names)

    monkeypatch.setattr(wire, "pack", packed)
    asking = threading.Thread(target=ask)
    asking.start()
    far.serve({"same": lambda x: x}, link.theirs.fileno())
    asking.join()
    assert answers == [1, 2]


def test_an_answer_that_has_gone_is_not_sent_again(student, monkeypatch):
    """The judge is interrupted right after it has answered the student's code."""
    lent, send = student("def swap(f): return f()\ndef same(x): return x"), Link.send

    def interrupted(self, parts):
        with Held():
            send(self, parts)
            if parts[1].startswith(b'["told"') and threading.current_thread() is main:
                interrupt()

    main = threading.main_thread()
    with monkeypatch.context() as patched:
        patched.setattr(Link, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            lent["swap"](lambda: 3)
    assert lent["same"](4) == 4
