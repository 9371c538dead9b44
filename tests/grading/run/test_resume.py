"""Grading that is killed anywhere and started again ends with the gradebook of an unbroken run."""

import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.grading import probe
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.fingerprint import fingerprint

pytestmark = pytest.mark.slow
TUTOR = [sys.executable, "-m", "tutor_lib.grading.cli", "grade", probe.LAB, "--workers", "2"]
KILLS = 10
ENDS = "import os\nos._exit(3)\n"


def hand_in(course):
    """Right, wrong, half right, broken, and ended in the middle: in all orders."""
    for number in range(30):
        answers = dict(probe.RIGHT)
        for exercise, name in enumerate(probe.WRONG):
            if number >> exercise & 1:
                answers[name] = probe.WRONG[name]
        if number % 7 == 3:
            answers["Stack"] = ENDS
        # Another comment in each, so that no two are the same.
        notebook = probe.filled(course, answers, first=f"# {number}")
        path = probe.submit(course, f"student{number:02}", notebook) / "probe.ipynb"
        if number % 11 == 5:
            path.write_text(path.read_text()[:-20])


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    """Two courses with the same submissions, one of them graded without a break."""
    whole = probe.make_course(tmp_path_factory.mktemp("whole") / "course")
    hand_in(whole)
    broken = tmp_path_factory.mktemp("broken") / "course"
    shutil.copytree(whole, broken)
    subprocess.run(TUTOR, cwd=whole, check=True, capture_output=True)
    return whole, broken


def kill(course, seconds):
    """Start grading, and kill it after so many seconds. Was it still at work?"""
    started = subprocess.Popen(TUTOR, cwd=course, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(seconds)
    at_work = started.poll() is None
    started.send_signal(signal.SIGKILL)
    started.communicate()
    return at_work


def test_killed_ten_times_the_gradebook_is_the_same(courses):
    whole, broken = courses
    draw = random.Random(7)
    killed = sum(kill(broken, draw.uniform(1, 9)) for _ in range(KILLS))
    done = subprocess.run(TUTOR, cwd=broken, check=True, capture_output=True, text=True)
    print(f"killed at work {killed} times; then:\n{done.stdout}")
    assert killed > 0
    there, here = (fingerprint(Course.open(course), probe.LAB) for course in (whole, broken))
    assert here == there
    assert len(here) >= 30
