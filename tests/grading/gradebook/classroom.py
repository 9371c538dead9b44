"""A course for one test, what is handed in there, and what came of running it."""

import contextlib
import copy
from pathlib import Path

import nbformat
import sqlalchemy

from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.submission import Result, Submission

LAB = "tiny"


class Classroom:
    """A course for one test, and what is handed in there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.course = Course.open(folder)

    def notebook(self, answers=()) -> nbformat.NotebookNode:
        """The lab as intake hands it on: the release with answers, the source's test cells."""
        read = nbformat.read
        notebook = read(self.folder / "labs" / LAB / f"{LAB}.ipynb", as_version=4)
        source = read(self.folder / "build" / "source" / LAB / f"{LAB}.ipynb", as_version=4)
        sources = {c.metadata.get("nbgrader", {}).get("grade_id"): c.source for c in source.cells}
        for cell in notebook.cells:
            about = cell.metadata.get("nbgrader", {})
            if about.get("locked"):
                cell.source = sources[about.grade_id]
            elif about.get("grade_id") in dict(answers):
                cell.source = dict(answers)[about.grade_id]
        return notebook

    def submission(self, student, answers=(), **about) -> Submission:
        return Submission(LAB, student, self.notebook(answers), **about)

    def result(self, submission, outputs=(), finished=("double_check", "partial_check"), notes=()):
        """A result with these outputs, by the cells' grade_id."""
        names = [c.metadata.get("nbgrader", {}).get("grade_id") for c in submission.notebook.cells]
        of_cells = tuple(tuple(dict(outputs).get(name, ())) for name in names)
        return Result(copy.deepcopy(of_cells), frozenset(finished), tuple(notes))

    def graded(self, student, answers=(), notes=(), timestamp=None, **outcome):
        submission = self.submission(student, answers, notes=tuple(notes), timestamp=timestamp)
        return submission, self.result(submission, **outcome)

    def autograded(self, student) -> nbformat.NotebookNode:
        path = self.course.autograded(student, LAB) / f"{LAB}.ipynb"
        return nbformat.read(path, as_version=4)


def printed(text, name="stdout"):
    return {"output_type": "stream", "name": name, "text": text}


def ended_with(text):
    return {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {},
            "execution_count": 1}  # fmt: skip


def raised(name="AssertionError", value="no"):
    return {"output_type": "error", "ename": name, "evalue": value, "traceback": [value]}


@contextlib.contextmanager
def counted():
    """The statements that any database is sent, as they are sent."""
    statements = []

    def note(_connection, _cursor, statement, *_):
        statements.append(statement)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", note)
