"""A lab as it should be: its source, with answers and hidden tests, and what students got."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.utils import compute_checksum, is_grade, is_locked, is_solution, is_task

FLAGS = ("grade", "solution", "locked", "task")


@dataclass(frozen=True)
class LabCell:
    """One cell of a lab that nbgrader knows.

    `stub` is its text in the release. `source` is what a graded notebook has when the student
    wrote nothing: the source's own text, hidden tests and all, if the cell is locked, else the
    stub. `metadata` are those of a graded notebook.
    """

    grade_id: str
    kind: str
    source: str
    stub: str
    locked: bool
    metadata: Mapping[str, Any]

    @property
    def about(self) -> Mapping[str, Any]:
        """The part of the metadata that is nbgrader's."""
        return self.metadata["nbgrader"]

    @property
    def is_test(self) -> bool:
        """Whether the lab's own code in it gives points."""
        return self.locked and bool(self.about["grade"])

    @cached_property
    def known(self) -> frozenset[str]:
        """The texts by which the cell can be told, as `plain` has them."""
        return frozenset({plain(self.source), plain(self.stub)})


def plain(source: str) -> str:
    """A text without what editors change unasked: line endings, blanks at the ends of lines."""
    return "\n".join(line.rstrip() for line in source.splitlines()).strip("\n")


@dataclass(frozen=True)
class Canon:
    """A lab's two notebooks. `of` reads them."""

    lab: str
    source: NotebookNode
    release: NotebookNode

    @classmethod
    def of(cls, course: Path, lab: str) -> "Canon":
        """The notebooks that `make labs` wrote.

        Raises ValueError if one is missing, is no notebook, or does not fit the other.
        """
        source = _read(course / "build" / "source" / lab / f"{lab}.ipynb")
        canon = cls(lab, source, _read(course / "labs" / lab / f"{lab}.ipynb"))
        if _marks(canon.source) != _marks(canon.release):
            raise ValueError(f"the source and the release of {lab} differ; run `make labs`")
        return canon

    @cached_property
    def cells(self) -> Mapping[str, LabCell]:
        """The cells that nbgrader knows, by grade_id, in the source's order."""
        released = {_grade_id(cell): cell for cell in filter(_marked, self.release.cells)}
        marked = filter(_marked, self.source.cells)
        return {_grade_id(cell): _lab_cell(cell, released[_grade_id(cell)]) for cell in marked}


def labs_of(course: Path) -> list[str]:
    """The names of the labs that have a source: solutions/<lab>/<lab>.md."""
    return sorted(p.stem for p in (course / "solutions").glob("*/*.md") if p.stem == p.parent.name)


def _read(path: Path) -> NotebookNode:
    try:
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing; run `make labs`") from error
    except (ValueError, nbformat.ValidationError) as error:
        raise ValueError(f"{path} is no notebook; run `make labs`") from error
    return notebook


def _marks(notebook: NotebookNode) -> list[tuple[Any, ...]]:
    """What the source and the release must have in common, cell by cell."""
    marked = filter(_marked, notebook.cells)
    return [(cell.cell_type, _grade_id(cell), *marks(cell.metadata["nbgrader"])) for cell in marked]


def marks(about: Mapping[str, Any]) -> tuple[Any, ...]:
    """What nbgrader's metadata decide: the flags, and the points where they count."""
    flags = tuple(about.get(flag, False) for flag in FLAGS)
    counts = about.get("grade", False) or about.get("task", False)
    return (*flags, about.get("points") if counts else None)


def _marked(cell: NotebookNode) -> bool:
    return bool(is_grade(cell) or is_solution(cell) or is_locked(cell) or is_task(cell))


def _grade_id(cell: NotebookNode) -> str:
    return str(cell.metadata["nbgrader"]["grade_id"])


def _lab_cell(source: NotebookNode, release: NotebookNode) -> LabCell:
    locked, metadata = bool(is_locked(source)), copy.deepcopy(release.metadata)
    if locked:
        # As nbgrader's gradebook has it, which keeps the hidden tests.
        metadata["nbgrader"]["checksum"] = compute_checksum(source)
    return LabCell(
        grade_id=_grade_id(source),
        kind=source.cell_type,
        source=source.source if locked else release.source,
        stub=release.source,
        locked=locked,
        metadata=metadata,
    )
