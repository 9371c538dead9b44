"""The page that a student gets back: the notebook as it ran, points, comments, and what befell it.

It shows no hidden test and no value from one, runs no script, and asks no other place for
anything: the page itself forbids browsers to. In nbgrader_config.py:

    c.GenerateFeedback.exporter_class = "tutor_lib.grading.gradebook.feedback.FeedbackExporter"
    c.GenerateFeedback.preprocessors = []
"""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader
from markupsafe import Markup
from nbconvert.exporters import Exporter
from nbformat import NotebookNode
from nbgrader.api import (
    Assignment,
    BaseCell,
    Comment,
    Grade,
    Notebook,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.utils import is_grade, is_solution, is_task
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sqlalchemy import Connection, Select, select
from traitlets import default

from tutor_lib.grading.gradebook.database import read
from tutor_lib.grading.gradebook.hidden import HiddenTests
from tutor_lib.grading.gradebook.markdown import markdown
from tutor_lib.grading.gradebook.notebook import notes_of
from tutor_lib.grading.gradebook.outputs import cut, plain, reduced

SOURCE = 50_000  # characters of a cell that are shown
TITLES = {
    (True, False): "Test",
    (True, True): "Your answer",
    (False, True): "Your answer",
    (False, False): "Task",
}


@dataclass(frozen=True)
class Grades:
    """What the gradebook says of one notebook: points and comments by grade_id."""

    points: dict[str, tuple[float, float]]
    comments: dict[str, str]
    penalty: float

    @property
    def score(self) -> float:
        """The whole, less what being late costs."""
        return max(0.0, sum(score for score, _ in self.points.values()) - self.penalty)

    @property
    def maximum(self) -> float:
        """The most that there is to earn."""
        return sum(maximum for _, maximum in self.points.values())


class FeedbackExporter(Exporter):
    """A graded notebook as a page for the student."""

    output_mimetype = "text/html"

    @default("file_extension")
    def _html(self) -> str:
        return ".html"

    def from_notebook_node(  # type: ignore[override]
        self, nb: NotebookNode, resources: Any = None, **kw: Any
    ) -> tuple[str, dict[str, Any]]:
        """The page. `resources["nbgrader"]` names student, assignment, notebook and gradebook.

        Raises ValueError if the gradebook has no such submission.
        """
        nb, resources = super().from_notebook_node(nb, resources, **kw)
        about = resources["nbgrader"]
        names = (about["assignment"], about["student"], about["notebook"])
        grades = read(about["db_url"], lambda connection: grades_of(connection, *names))
        hidden = HiddenTests.configured(self.config)
        page = _template().render(
            lab=about["notebook"],
            student=about["student"],
            grades=grades,
            notes=notes_of(nb.metadata.get("tutor", {})),
            parts=[_part(hidden.shown(cell), grades) for cell in nb.cells],
            styles=_styles(),
        )
        return page, resources


def grades_of(connection: Connection, lab: str, student: str, notebook: str) -> Grades:
    """Look up what the gradebook says of a notebook.

    Raises ValueError if it has no such submission.
    """
    Book, Row = SubmittedNotebook, SubmittedAssignment
    wanted = (
        select(Book.id, Book.late_submission_penalty)
        .join(Row, Row.id == Book.assignment_id)
        .join(Assignment, Assignment.id == Row.assignment_id)
        .join(Notebook, Notebook.id == Book.notebook_id)
        .where(Assignment.name == lab, Row.student_id == student, Notebook.name == notebook)
    )
    found = connection.execute(wanted).first()
    if found is None:
        raise ValueError(f"the gradebook has no {lab} of {student!r}; grade it first")
    points = connection.execute(_of(Grade, found.id).add_columns(Grade.score, Grade.max_score))
    comments = connection.execute(_of(Comment, found.id).add_columns(Comment.comment))
    return Grades(
        {name: (score, maximum) for name, score, maximum in points},
        {name: comment for name, comment in comments if comment},
        found.late_submission_penalty or 0.0,
    )


def _of(table: Any, notebook: str) -> Select[Any]:
    cells = select(BaseCell.name).join(table, table.cell_id == BaseCell.id)
    return cells.where(table.notebook_id == notebook)


def _part(cell: NotebookNode, grades: Grades) -> dict[str, Any]:
    """What the template shows of a cell."""
    name = cell.metadata.get("nbgrader", {}).get("grade_id")
    marked = is_grade(cell) or is_solution(cell) or is_task(cell)
    return {
        "name": name if marked else None,
        "title": TITLES[bool(is_grade(cell)), bool(is_solution(cell))],
        "points": grades.points.get(name) if is_grade(cell) or is_task(cell) else None,
        "comment": markdown(grades.comments.get(name, "")) if marked else "",
        "content": _content(cell),
        "outputs": list(_outputs(cell)),
    }


def _content(cell: NotebookNode) -> Markup:
    source = cut(plain(cell.source), SOURCE)
    if cell.cell_type == "markdown":
        return markdown(source)
    if cell.cell_type != "code" or not source:
        return Markup("<pre>{}</pre>").format(source)
    # Pygments escapes what it is given.
    return Markup(highlight(source, PythonLexer(), HtmlFormatter()))


def _outputs(cell: NotebookNode) -> Iterator[tuple[str, str]]:
    """The kind and the content of each output; reduced again, should another have graded it."""
    for output in reduced(cell.get("outputs", ())):
        if output.output_type == "stream":
            yield "text", plain(output.text)
        elif output.output_type == "error":
            yield "error", plain("\n".join(output.traceback))
        elif "image/png" in output.data:
            yield "picture", output.data["image/png"]
        else:
            yield "text", plain(output.data["text/plain"])


@functools.cache
def _template() -> Any:
    loader = PackageLoader("tutor_lib.grading.gradebook", "templates")
    environment = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.get_template("feedback.html.j2")


@functools.cache
def _styles() -> Markup:
    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return Markup(f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}")
