"""Pools and their workers: nothing is lost, nothing is left, and memory stays flat."""

import subprocess
import sys
import threading
import tracemalloc
from concurrent.futures import Future

import psutil
import pytest

from tests.grading.run.small import (
    bundle_of,
    codes,
    descendants,
    is_there,
    judged,
    student,
    text,
    wait_until,
)
from tutor_lib.grading.run import pool
from tutor_lib.grading.run.pool import LocalPool, ahead
from tutor_lib.grading.run.worker import Worker, WorkerDied
from tutor_lib.grading.sandbox.guest import SandboxError
from tutor_lib.grading.submission import Result

pytestmark = pytest.mark.xdist_group("pool")


class Fake:
    """A worker that gives back what it is given, after a while of its own."""

    made = 0
    wait = staticmethod(lambda text: None)

    def __init__(self, slots):
        type(self).made += 1
        self.slots = slots

    def run(self, text):
        self.wait(text)
        return Result(((),), frozenset([text[:20]]))

    def close(self):
        pass


@pytest.fixture
def fake(monkeypatch):
    class Local(Fake):
        pass

    monkeypatch.setattr(pool, "Worker", Local)
    return Local


@pytest.mark.parametrize("number", [0, -1])
def test_fewer_workers_than_one_are_refused(number):
    with pytest.raises(ValueError, match=f"1 or more, got {number}"):
        LocalPool(number)


def test_no_bundles_no_results(fake):
    assert list(LocalPool(2).run([])) == []


def test_what_is_known_is_passed_on_and_not_run(fake):
    known = Result(((),), frozenset(["known"]))
    ran = []
    fake.wait = staticmethod(ran.append)
    assert list(LocalPool(2).run([(0, known), (1, known)])) == [(0, known), (1, known)]
    assert ran == []
    given = [(0, known), (1, bundle_of(student("x"))), (2, known)]
    results = dict(LocalPool(2).run(given))
    assert [n for n, result in results.items() if result is known] == [0, 2]
    assert len(ran) == 1


def test_results_come_as_they_are_ready(fake):
    """The first one is the slowest, and the last to come."""
    slow = bundle_of(student("slow"))
    others = {n: bundle_of(student(f"quick {n}")) for n in range(1, 5)}
    released = threading.Event()
    fake.wait = staticmethod(lambda text: released.wait(10) if '"slow"' in text else None)
    results = LocalPool(2).run([(0, slow), *others.items()])
    names = [next(results)[0] for _ in range(3)]
    released.set()
    names += [name for name, _ in results]
    assert names[:3] != [0, 1, 2]
    assert sorted(names) == [0, 1, 2, 3, 4]
    assert 0 not in names[:3]


def test_memory_stays_flat(fake):
    """Of three thousand large bundles, few are there at once."""
    taken = given = most = 0

    def bundles():
        nonlocal taken
        for number in range(3000):
            taken += 1
            yield number, bundle_of(student("x" * 20_000))

    tracemalloc.start()
    for _ in LocalPool(2).run(bundles()):
        given += 1
        most = max(most, taken - given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert given == taken == 3000
    assert most <= 2 * pool.AHEAD
    assert peak < 5_000_000  # all of them are 60 MB


def test_whoever_stops_listening_stops_the_rest():
    begun = []

    def submit(number, bundle):
        begun.append(bundle)
        future = Future()
        future.set_result(Result((), frozenset()))
        return future

    results = ahead(((n, n) for n in range(100)), submit, 3)
    next(results)
    results.close()
    assert begun == [0, 1, 2]


def test_one_failure_is_one_submissions(fake):
    def fail(text):
        if "bad" in text:
            raise RuntimeError("no more ink")

    fake.wait = staticmethod(fail)
    given = [(n, bundle_of(student("bad" if n == 2 else "good"))) for n in range(5)]
    results = dict(LocalPool(2).run(given))
    assert codes(results[2]) == ["grader"]
    assert "no more ink" in results[2].notes[0].told
    assert [codes(results[n]) for n in (0, 1, 3, 4)] == [[], [], [], []]


def test_without_a_sandbox_nothing_is_run(fake):
    def refuse(text):
        raise SandboxError("no bubblewrap")

    fake.wait = staticmethod(refuse)
    with pytest.raises(SandboxError, match="no bubblewrap"):
        list(LocalPool(2).run([(0, bundle_of(student("x")))]))


def test_a_worker_that_has_died_is_replaced_once(fake, monkeypatch):
    """Once every bundle after a worker's death had to start a worker of its own."""

    class Mortal(fake):
        dead, deaths = False, 0

        def run(self, text):
            if "deadly" in text and not Mortal.deaths:
                self.dead, Mortal.deaths = True, 1
            if self.dead:
                raise WorkerDied("killed")
            return super().run(text)

    monkeypatch.setattr(pool, "Worker", Mortal)
    given = [(n, bundle_of(student("deadly" if n == 1 else "good"))) for n in range(30)]
    results = dict(LocalPool(1).run(given))
    assert [codes(result) for result in results.values()] == [[]] * 30
    assert Mortal.made == 3  # the first, one for the deadly bundle alone, one in its place


def has_kernels(worker):
    return len(descendants(worker.process.pid)) > 8  # beside bubblewrap and the template


def sleeper(number):
    """Takes a second, so that it can be caught at it."""
    return bundle_of(
        student(f"import time; time.sleep(1)\nprint({number})"), judged("x = 1"), seed=str(number)
    )


def test_a_worker_killed_in_the_middle_loses_nothing():
    workers = LocalPool(2)
    try:
        results = workers.run((n, sleeper(n)) for n in range(4))

        def kill():
            wait_until(lambda: workers.workers and has_kernels(workers.workers[0]))
            workers.workers[0].process.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        found = dict(results)
        killer.join()
    except SandboxError as error:
        pytest.skip(f"no sandbox on this machine: {error}")
    finally:
        workers.close()
    assert {n: text(result, 0) for n, result in found.items()} == {n: f"{n}\n" for n in range(4)}
    assert all(codes(result) == [] for result in found.values())


COORDINATOR = """\
import sys
from tests.grading.run.small import bundle_of, student
from tutor_lib.grading.run.pool import LocalPool

print("started", flush=True)
cell = student("import os, time\\nos.fork()\\ntime.sleep(300)")
list(LocalPool(2).run((n, bundle_of(cell, seed=str(n))) for n in range(4)))
"""


@pytest.mark.parametrize("how", ["kill", "terminate"])
def test_a_coordinator_killed_leaves_nothing_running(how, root):
    process = subprocess.Popen(
        [sys.executable, "-c", COORDINATOR], cwd=root, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"started\n"
    kernels = wait_until(lambda: len(found := descendants(process.pid)) > 8 and found)
    if not kernels:
        process.kill()
        pytest.skip("no sandbox on this machine: no kernel has started")
    getattr(process, how)()
    process.wait(10)
    process.stdout.close()
    left = wait_until(lambda: not any(is_there(one.pid) for one in kernels), 20)
    assert left, [one.cmdline() for one in kernels if is_there(one.pid)]


def test_a_worker_answers_from_any_thread_and_ends():
    worker = Worker(2)
    results = {}

    def ask(number):
        try:
            results[number] = worker.run(bundle_of(student(f"print({number})")).to_json())
        except SandboxError as error:
            results[number] = error

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    below = descendants(worker.process.pid)
    worker.close()
    if any(isinstance(result, SandboxError) for result in results.values()):
        pytest.skip(f"no sandbox on this machine: {results[0]}")
    assert {n: text(result, 0) for n, result in results.items()} == {n: f"{n}\n" for n in range(3)}
    assert worker.process.poll() == 0
    assert wait_until(lambda: not any(is_there(one.pid) for one in below))


def test_what_is_no_bundle_is_answered_too():
    """A worker once kept silent, and was waited for without end."""
    worker = Worker(1)
    try:
        with pytest.raises(RuntimeError, match="JSONDecodeError"):
            worker.run("{")
    finally:
        worker.close()


def test_a_dead_worker_says_so():
    worker = Worker(1)
    worker.process.kill()
    worker.process.wait()
    with pytest.raises(WorkerDied):
        worker.run("{}")
    worker.close()
    assert not psutil.pid_exists(worker.process.pid)
