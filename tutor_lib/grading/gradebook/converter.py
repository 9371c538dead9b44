"""Make `nbgrader autograde` and formgrader's button grade as `tutor grade` does.

In nbgrader_config.py:

    from tutor_lib.grading.gradebook.converter import install
    install(c, "tutor_lib.grading.run.grade")

nbgrader executes that file for every command, after it has imported its own parts. What grades
is named, not imported, so that the other commands do not wait for it.
"""

import asyncio
import fnmatch
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from nbgrader.api import Student
from nbgrader.converters import NbGraderException
from nbgrader.converters.autograde import Autograde
from sqlalchemy import select
from traitlets import Unicode
from traitlets.config import Config
from traitlets.utils.importstring import import_item

from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.database import read
from tutor_lib.grading.gradebook.settled import settled
from tutor_lib.grading.intake.folder import Refused, opened
from tutor_lib.grading.intake.folder import read as read_file
from tutor_lib.grading.intake.timestamps import handed_in

# root, lab, students, force, log -> the students that could not be graded
Grade = Callable[[Path, str, list[str], bool, Any], list[str]]
# Where nbgrader's commands and its server extension look the name up.
PLACES = ("nbgrader.converters", "nbgrader.apps.autogradeapp", "nbgrader.apps.api")


def install(c: Config, grade: str) -> None:
    """Let nbgrader's autograde call the function that `grade` names: "package.module.function".

    It is called with the course's folder, the lab, the students, whether to grade again what is
    graded, and a log; it returns the students that it could not grade.
    """
    c.SandboxedAutograde.grade = grade
    for name in PLACES:
        if (module := sys.modules.get(name)) is not None:
            module.Autograde = SandboxedAutograde  # type: ignore[attr-defined]


class SandboxedAutograde(Autograde):
    """nbgrader's Autograde, whose work is done by the function that `install` named.

    In a course that names none, it is nbgrader's own: one server may show several courses.
    """

    grade = Unicode(help="The function that grades: package.module.function").tag(config=True)

    def start(self) -> None:
        """Grade the chosen submissions of a lab.

        Raises NbGraderException, and logs why, if one of them could not be graded.
        """
        if not self.grade:
            super().start()
            return
        try:
            failed = self._grade_chosen(Course(self.config, self.coursedir))
        except (ValueError, RuntimeError, OSError) as error:
            self._fail(str(error), error)
        if failed:
            self._fail(f"Not graded: {', '.join(failed)}. Why is said above.")

    def _fail(self, told: str, cause: Exception | None = None) -> NoReturn:
        self.log.error(told)
        raise NbGraderException(told) from cause

    def _grade_chosen(self, course: Course) -> list[str]:
        lab = self.coursedir.assignment_id
        self._check(course, lab)
        students = course.chosen(lab)
        if not students:
            raise ValueError(f"No submissions were matched by '{course.folder_of(lab)}'")
        unknown = [] if self.create_student else _unknown(course, students)
        for student in unknown:
            self.log.error("No student with ID '%s' exists in the database", student)
        wanted = self._wanted(course, lab, [s for s in students if s not in unknown])
        return unknown + (self._graded(lab, wanted) if wanted else [])

    def _check(self, course: Course, lab: str) -> None:
        """What nbgrader's options ask for and this cannot do, is refused and not passed over."""
        if not fnmatch.fnmatchcase(lab, self.coursedir.notebook_id):
            raise ValueError(f"No notebooks were matched by '{self.coursedir.notebook_id}.ipynb'")
        if self.config.get("Execute", {}).get("enabled", True) is False:
            raise ValueError("--no-execute cannot be had: only what the judge has run scores.")
        if course.db_url != Course.open(course.root).db_url:
            raise ValueError("Name the gradebook in nbgrader_config.py, not on the command line.")

    def _wanted(self, course: Course, lab: str, students: list[str]) -> list[str]:
        """Those who are not graded yet, or have handed in anew; all with --force."""
        done = settled(course, lab)
        if self.force:
            return students
        wanted = [s for s in students if s not in done or _is_newer(course, s, lab, done[s])]
        for student in sorted(set(students) - set(wanted)):
            self.log.info("Skipping existing assignment: %s", course.autograded(student, lab))
        return wanted

    def _graded(self, lab: str, students: list[str]) -> list[str]:
        grade: Grade = import_item(self.grade)
        self.run_pre_convert_hook()
        root = Path(self.coursedir.root)
        failed = _outside_the_loop(grade, root, lab, students, self.force, self.log)
        self.run_post_convert_hook()
        return failed


def _unknown(course: Course, students: list[str]) -> list[str]:
    known = read(course.db_url, lambda connection: set(connection.scalars(select(Student.id))))
    return [student for student in students if student not in known]


def _is_newer(course: Course, student: str, lab: str, graded: datetime | None) -> bool:
    try:
        with opened(course.submitted(student, lab)) as root:
            stamp = read_file(root, "timestamp.txt", 1_000).data
    except Refused:
        return False
    when, _ = handed_in(stamp, None, datetime.now(UTC))
    return when is not None and (graded is None or when > graded)


def _outside_the_loop(grade: Grade, *arguments: Any) -> list[str]:
    """Formgrader calls from within its server's event loop, where no second one can run."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return grade(*arguments)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(grade, *arguments).result()
