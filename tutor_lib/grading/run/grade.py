"""Grade a lab: take in what was handed in, run what is not in the store, record all.

It can be stopped anywhere and started again. What was run stays in the store; what was recorded
is recorded again, to the same effect.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, fields
from logging import Logger
from pathlib import Path
from typing import NamedTuple

from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.record import Graded, Recorded, batches, record
from tutor_lib.grading.intake.canon import Canon
from tutor_lib.grading.intake.normalise import take_in
from tutor_lib.grading.limits import Limits
from tutor_lib.grading.run.bundle import Bundle
from tutor_lib.grading.run.bundler import Bundler
from tutor_lib.grading.run.pool import LocalPool, Pool
from tutor_lib.grading.run.store import Store
from tutor_lib.grading.submission import Result, Submission


@dataclass
class Summary:
    """How a batch went: how many were graded, how many of them from the store, and the notes'
    codes, counted."""

    graded: int = 0
    stored: int = 0
    failed: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)

    def add(self, line: "Line") -> None:
        """Count one more."""
        self.graded += 1
        self.stored += line.stored
        self.codes.update(set(line.codes))
        if "grader" in line.codes:
            self.failed.append(line.student)


class Line(NamedTuple):
    """The outcome of one submission."""

    student: str
    score: float
    maximum: float
    codes: tuple[str, ...]
    stored: bool
    seconds: float


class Grading:
    """The grading of one lab of a course. `again` passes the store over.

    Raises ValueError if the lab's notebooks are not there or cannot be judged.
    """

    def __init__(self, course: Course, lab: str, again: bool = False) -> None:
        self.course, self.lab, self.again = course, lab, again
        self.canon = Canon.of(course.root, lab)
        self.bundler = Bundler(self.canon.source, limits_of(course))
        self.store = Store(course.root / "build" / "graded")

    def grade(self, students: Iterable[str], pool: Pool, tell: Callable[[Line], None]) -> Summary:
        """Grade these students' submissions, and tell each outcome as it is recorded."""
        summary, fresh = Summary(), set[str]()
        for batch in batches(self._graded(students, fresh, pool)):
            for recorded, (submission, result) in zip(
                record(self.course, self.lab, batch), batch, strict=True
            ):
                line = _line(recorded, submission, result, submission.student not in fresh)
                summary.add(line)
                tell(line)
        return summary

    def take_in(self, student: str) -> Submission:
        """What a student handed in."""
        return take_in(self.course.submitted(student, self.lab), student, self.canon)

    def _graded(self, students: Iterable[str], fresh: set[str], pool: Pool) -> Iterator[Graded]:
        for (submission, key), result in pool.run(self._work(students, fresh)):
            if submission.student in fresh and not any(n.code == "grader" for n in result.notes):
                self.store.put(key, result)
            yield submission, result

    def _work(
        self, students: Iterable[str], fresh: set[str]
    ) -> Iterator[tuple[tuple[Submission, str], Bundle | Result]]:
        """What is to be run, and the results known already; the others' names go to `fresh`."""
        for student in students:
            submission = self.take_in(student)
            bundle = self.bundler.bundle(submission)
            result = None if self.again else self.store.get(bundle.key)
            if result is None:
                fresh.add(student)
            yield (submission, bundle.key), result or bundle


def limits_of(course: Course) -> Limits:
    """The limits that nbgrader_config.py sets (c.Limits.cell_seconds = 60), the rest as usual.

    Raises ValueError for a limit that there is not, or that is no positive number.
    """
    wanted = dict(course.config.get("Limits", {}))
    if unknown := wanted.keys() - {field.name for field in fields(Limits)}:
        raise ValueError(f"nbgrader_config.py sets c.Limits.{min(unknown)}, which is no limit")
    return Limits(**wanted)


def autograde(root: Path, lab: str, students: list[str], force: bool, log: Logger) -> list[str]:
    """Grade for nbgrader, and return the students for whom grading itself failed.

    `force` is nbgrader's: it says what to record again, not what to run again.
    """
    pool = LocalPool()
    try:
        told = Grading(Course.open(root), lab).grade(
            students, pool, lambda line: log.info("%s: %g of %g", *line[:3])
        )
    finally:
        pool.close()
    return told.failed


def _line(recorded: Recorded, submission: Submission, result: Result, stored: bool) -> Line:
    return Line(
        submission.student,
        recorded.score,
        recorded.maximum,
        tuple(note.code for note in recorded.notes),
        stored,
        result.seconds.get("total", 0.0),
    )
