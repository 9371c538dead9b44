"""A real Dask scheduler and two workers in processes of their own, one killed in the middle."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.grading import probe
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.fingerprint import fingerprint

STUDENTS = 9
SLOW = "import time\ntime.sleep(0.3)\n"


def dask(folder, *command):
    """One of Dask's programs, at work in a folder of its own, and the file it writes to."""
    folder.mkdir()
    log = (folder / "log").open("wb")
    environment = os.environ | {"DASK_DISTRIBUTED__WORKER__PREPEND": "", "HOME": str(folder)}
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + command[0], *command[1:]],
        cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True,
    )  # fmt: skip


def said(folder, pattern, seconds=60):
    """Wait until a program has written this to its log."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if match := re.search(pattern, (folder / "log").read_text()):
            return match[1]
        time.sleep(0.1)
    raise TimeoutError(f"{pattern!r} is not in the log:\n{(folder / 'log').read_text()}")


@pytest.fixture
def cluster(tmp_path):
    """The scheduler's address and two workers; each has a folder of its own and no course."""
    with contextlib.ExitStack() as stack:

        def start(name, *command):
            process = dask(tmp_path / name, *command)
            stack.callback(process.wait)
            stack.callback(end, process)
            return process

        start("scheduler", "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
        address = said(tmp_path / "scheduler", r"Scheduler at:\s+(tcp://\S+)")
        wanted = ("dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny",
                  "--host", "127.0.0.1", "--local-directory")  # fmt: skip
        workers = [start(name, *wanted, str(tmp_path / name)) for name in ("one", "two")]
        for name in ("one", "two"):
            said(tmp_path / name, r"(Registered to)")
        yield address, workers


def end(process):
    """Kill a program and what it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def grade(course, *more):
    command = [sys.executable, "-m", "tutor_lib.grading.cli", "grade", probe.LAB, *more]
    return subprocess.Popen(
        command, cwd=course, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def hand_in(course):
    for number in range(STUDENTS):
        answers = probe.RIGHT | ({"double": probe.WRONG["double"]} if number % 3 else {})
        probe.submit(
            course, f"student{number:02}", probe.filled(course, answers, first=SLOW + f"# {number}")
        )


def test_a_worker_is_killed_and_nothing_is_lost(tmp_path, cluster):
    address, workers = cluster
    here, there = probe.make_course(tmp_path / "own_course"), tmp_path / "cluster_course"
    hand_in(here)
    shutil.copytree(here, there)
    running = grade(there, "--scheduler", address)
    lines = []
    for line in running.stdout:
        lines.append(line)
        if len(lines) == 3:  # the batch is under way
            end(workers[0])
    assert running.wait() == 0, "".join(lines)
    assert f"{STUDENTS} graded" in "".join(lines)
    alone = grade(here)
    alone.communicate()
    assert alone.returncode == 0
    told, wanted = (fingerprint(Course.open(course), probe.LAB) for course in (there, here))
    assert told == wanted
    assert len(told) == STUDENTS


def test_a_scheduler_that_is_not_there_is_named(tmp_path):
    course = probe.make_course(tmp_path / "course")
    probe.submit(course, "ada", probe.filled(course, probe.RIGHT))
    running = grade(course, "--scheduler", "tcp://127.0.0.1:9")
    told, _ = running.communicate()
    assert running.returncode == 1
    assert "tcp://127.0.0.1:9" in told
    assert "Traceback" not in told
