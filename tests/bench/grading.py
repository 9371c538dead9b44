"""Grading a class: `tutor grade` beside stock nbgrader, on the same submissions in the same run.

    python -m tests.bench.grading [--class N] [--stock N] [--recorded N] [--thousand]

Every submission holds the lab's own answers and a comment of its own, so that none is run twice.
First the scores are compared; then submissions a minute, and what share of the time is the
cells' own. Recording is timed alone, with the memory that it takes.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook

from tests.grading import probe
from tutor_lib.experiments.record import machine
from tutor_lib.grading import build
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.fingerprint import fingerprint
from tutor_lib.grading.gradebook.record import record
from tutor_lib.grading.run.grade import Grading
from tutor_lib.grading.run.store import from_json
from tutor_lib.grading.submission import Result, Submission

ROOT = Path(__file__).resolve().parents[2]
LAB = "attention"
STOCK = """c = get_config()
c.CourseDirectory.source_directory = "build/source"
c.CourseDirectory.release_directory = "labs"
c.Execute.timeout = 120
"""
AT_LEAST = 10  # times stock nbgrader's throughput


def make_course(folder: Path, stock: bool) -> Path:
    """The attention lab in a course of its own."""
    shutil.copytree(ROOT / "solutions", folder / "solutions")
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    build.release(folder, LAB)
    if stock:
        (folder / "nbgrader_config.py").write_text(STOCK)
    return folder


def hand_in(course: Path, count: int) -> None:
    """The lab's own answers, so many times."""
    source = nbformat.read(course / "build/source" / LAB / f"{LAB}.ipynb", as_version=4)
    first = source.cells[0].source
    for number in range(count):
        folder = course / "submitted" / f"student{number:04}" / LAB
        folder.mkdir(parents=True)
        source.cells[0].source = f"{first}\n\nCopy {number}."
        code = next(c for c in source.cells if c.id == "softmax")
        code.source = code.source.split("  # copy")[0] + f"  # copy {number}"
        nbformat.write(source, folder / f"{LAB}.ipynb")


def timed(course: Path, *command: str) -> float:
    """The seconds that a command takes."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "JUPYTER_NO_CONFIG": "1"}
    start = time.monotonic()
    subprocess.run(command, cwd=course, check=True, capture_output=True, env=environment)
    return time.monotonic() - start


def scores(course: Path) -> dict[str, float]:
    """Each student's score for the lab."""
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        return {s.student.id: s.score for s in book.assignment_submissions(LAB)}


def share(course: Path) -> float:
    """What part of the seconds that submissions took was their cells' own."""
    spent = [json.loads(p.read_text())["seconds"] for p in course.glob("build/graded/*/*.json")]
    return sum(s["cells"] for s in spent) / sum(s["total"] for s in spent)


def throughput(folder: Path, whole: int, stock: int) -> bool:
    """Print how fast both are; is ours fast enough, and are the scores equal?"""
    ours, theirs = make_course(folder / "ours", False), make_course(folder / "stock", True)
    hand_in(ours, whole)
    hand_in(theirs, stock)
    tutor = timed(ours, sys.executable, "-m", "tutor_lib.grading.cli", "grade", LAB)
    nbgrader = timed(theirs, sys.executable, "-m", "nbgrader", "autograde", LAB)
    seen, wanted = scores(ours), scores(theirs)
    equal = all(seen[name] == score for name, score in wanted.items()) and len(seen) == whole
    ratio = (whole / tutor) / (stock / nbgrader)
    print(f"{whole} submissions of {LAB}, judge and sandbox on: {tutor:.1f} s, "
          f"{tutor / whole:.2f} s each; {share(ours):.0%} of it in their cells")  # fmt: skip
    print(f"{stock} by stock nbgrader: {nbgrader:.1f} s, {nbgrader / stock:.2f} s each")
    print(f"throughput: {ratio:.1f} times stock's (line {AT_LEAST}); scores "
          f"{'equal' if equal else 'NOT EQUAL'}")  # fmt: skip
    return equal and ratio >= AT_LEAST


def copies(
    submission: Submission, result: Result, count: int
) -> Iterator[tuple[Submission, Result]]:
    """One graded submission as that of many students."""
    for number in range(count):
        yield replace(submission, student=f"copy{number:04}"), result


def recording(folder: Path, count: int) -> bool:
    """Print how long recording takes, and what memory; is it within a second a hundred?"""
    course = Course.open(folder / "ours")
    grading = Grading(course, LAB)
    submission = grading.take_in("student0000")
    result = from_json(next(folder.glob("ours/build/graded/*/*.json")).read_text())
    record(course, LAB, copies(submission, result, 100))  # what is loaded once is loaded
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.monotonic()
    record(course, LAB, copies(submission, result, count))
    seconds = time.monotonic() - start
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"recording {count} results: {100 * seconds / count:.2f} s a hundred (line 1); "
          f"peak memory grew by {grown:.0f} MiB")  # fmt: skip
    return seconds / count < 0.01


def thousand(folder: Path) -> bool:
    """Grade 1,000 different submissions in parallel and one after the other; are they equal?"""
    books = []
    for workers in ("2", "1"):
        course = probe.make_course(folder / f"thousand{workers}")
        for number in range(1000):
            answers = {n: (probe.RIGHT, probe.WRONG)[number >> i & 1][n]
                       for i, n in enumerate(probe.RIGHT)}  # fmt: skip
            probe.submit(
                course, f"student{number:04}", probe.filled(course, answers, f"# {number}")
            )
        command = [sys.executable, "-m", "tutor_lib.grading.cli", "grade", probe.LAB]
        seconds = timed(course, *command, "--workers", workers)
        books.append(fingerprint(Course.open(course), probe.LAB))
        print(f"1,000 submissions, {workers} at once: {seconds:.0f} s; {len(books[-1])} recorded")
    equal = books[0] == books[1] and len(books[0]) == 1000
    print(f"gradebooks: {'equal' if equal else 'NOT EQUAL'}")
    return equal


def main() -> int:
    """Run what is asked for; 1 if a line is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.grading", description=__doc__)
    parser.add_argument("--class", type=int, default=40, dest="whole", help="submissions (40)")
    parser.add_argument("--stock", type=int, default=40, help="of them by stock nbgrader (40)")
    parser.add_argument("--recorded", type=int, default=1000, help="results to record (1000)")
    parser.add_argument("--thousand", action="store_true", help="also 1,000, twice: half an hour")
    options = parser.parse_args()
    print(", ".join(f"{name} {value}" for name, value in machine().items() if value))
    with tempfile.TemporaryDirectory() as folder:
        fine = throughput(Path(folder), options.whole, options.stock)
        fine &= recording(Path(folder), options.recorded)
        if options.thousand:
            fine &= thousand(Path(folder))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
