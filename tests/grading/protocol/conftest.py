"""Two sides of a link: the student's in a thread or a process, the judge's in the test."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from types import SimpleNamespace

import pytest

from tutor_lib.grading.protocol import far, judge


@pytest.fixture(autouse=True)
def _interrupts():
    """Interrupts work as in a terminal, also where a shell started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def link(monkeypatch):
    """Both ends of a socketpair; the judge finds its own in the environment."""
    ours, theirs = socket.socketpair()
    monkeypatch.setenv("TUTOR_LINK", str(ours.fileno()))
    yield SimpleNamespace(ours=ours, theirs=theirs)
    ours.close()
    theirs.close()


class Borrowed(dict):
    """A namespace with what was lent, and how a test cell is run in it."""

    def run(self, code: str):
        """Run a cell; its `result` comes back."""
        exec(compile(textwrap.dedent(code), "a test cell", "exec"), self)
        return self["result"]


@pytest.fixture
def student(link):
    """Run the student's cell, serve it from a thread, and lend all names that it defines."""
    started = []

    def start(source: str) -> Borrowed:
        theirs: dict = {"__name__": "students"}
        exec(compile(textwrap.dedent(source), "a student's cell", "exec"), theirs)
        thread = threading.Thread(target=far.serve, args=(theirs, link.theirs.fileno()))
        thread.start()
        started.append(thread)
        borrowed = Borrowed()
        judge.lend([name for name in theirs if not name.startswith("__")], borrowed)
        return borrowed

    yield start
    if started:
        judge.done({})
        link.ours.shutdown(socket.SHUT_RDWR)
    for thread in started:
        thread.join(10)
        assert not thread.is_alive()


SERVE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from tutor_lib.grading.protocol import far
exec(compile(sys.argv[1], "a student's cell", "exec"), globals())
print("ready", flush=True)
while True:
    far.serve()
    print("served", flush=True)
    if not sys.stdin.readline():
        break
"""


@pytest.fixture
def process(link):
    """Run the student's cell in a process of its own, which serves it until its end."""
    running = []

    def start(source: str):
        number = link.theirs.fileno()
        done = subprocess.Popen(
            [sys.executable, "-c", SERVE, textwrap.dedent(source)],
            pass_fds=[number], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"TUTOR_LINK": str(number)},
        )  # fmt: skip
        running.append(done)
        assert done.stdout.readline() == "ready\n"
        link.theirs.close()  # else its end would not show
        return done

    yield start
    for one in running:
        one.kill()
        one.communicate()
