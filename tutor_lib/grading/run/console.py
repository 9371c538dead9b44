"""Grade a class at a terminal: a progress bar, a line of outcome for each submission, a summary."""

import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.notes import CODES
from tutor_lib.grading.run.grade import Grading, Line, Summary
from tutor_lib.grading.run.pool import Pool


def grade(
    root: Path, lab: str, wanted: Sequence[str] | None, pool: Pool, again: bool = False
) -> bool:
    """Grade what was handed in to a lab, by all or by the students `wanted`; is all graded?

    Raises ValueError if there is nothing to grade.
    """
    course = Course.open(root)
    students = course.students(lab, wanted)
    if not students:
        raise ValueError(f"nobody has handed in {lab!r} in {course.folder_of(lab)}")
    summary = _with_progress(Grading(course, lab, again=again), students, pool)
    print(_told(summary))
    return not summary.failed


def _with_progress(grading: Grading, students: Sequence[str], pool: Pool) -> Summary:
    width = max(map(len, students))
    with tqdm(total=len(students), unit="submission", disable=None) as bar:

        def tell(line: Line) -> None:
            bar.write(_row(line, width), file=sys.stdout)
            bar.update()

        return grading.grade(students, pool, tell)


def _row(line: Line, width: int) -> str:
    how = "stored" if line.stored else f"{line.seconds:.1f} s"
    codes = ", ".join(dict.fromkeys(line.codes)) or "ok"
    return f"{line.student:{width}}  {line.score:>5g} / {line.maximum:<5g}  {how:>8}  {codes}"


def _told(summary: Summary) -> str:
    lines = [f"\n{summary.graded} graded, {summary.stored} of them from the store."]
    lines += [f"{n:5}  {code:18} {CODES[code]}" for code, n in sorted(summary.codes.items())]
    if summary.failed:
        lines.append(f"Not graded, start again for them: {', '.join(summary.failed)}")
    return "\n".join(lines)
