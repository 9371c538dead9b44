"""The rows of the hostile table: every module in the folders beside this file.

A module says in its docstring what it tries, and by these names how, and what must come out:

ANSWERS          the solution cells by grade_id (default: wrong ones)
FIRST            code of a cell at the top; it knows COURSE, PORT and SOCKET (see `batch`)
STUDENT          the folder's name, where it is not the module's
edit(notebook)   changes the notebook before it is handed in
hand_in(folder)  changes the folder that is handed in
archive(path, notebook)  comes instead as an archive, through `nbgrader zip_collect`
SCORES           points that must come out, by grade_id (default: 0; None: nothing is graded)
CODES            the notes' codes that must come out, no more and no less (default: none)
UNSAID, UNSEEN   texts that must not be in what it shows, or in its feedback page; the batch's
                 secrets never may
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.grading.probe import POINTS, WRONG

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """One submission, and what must come out."""

    group: str
    name: str
    module: ModuleType

    def get(self, name: str, default: Any) -> Any:
        """What the module says under this name."""
        return getattr(self.module, name, default)

    @property
    def tries(self) -> str:
        """What it tries: the first line of the docstring."""
        return (self.module.__doc__ or "").splitlines()[0].rstrip(".")

    @property
    def student(self) -> str:
        """Who hands it in."""
        return str(self.get("STUDENT", self.name))

    @property
    def answers(self) -> Mapping[str, str]:
        """The solution cells."""
        return self.get("ANSWERS", WRONG)

    @property
    def scores(self) -> dict[str, float] | None:
        """The points that must come out."""
        scores = self.get("SCORES", {})
        return None if scores is None else dict.fromkeys(POINTS, 0) | scores

    @property
    def codes(self) -> frozenset[str]:
        """The codes that must come out."""
        return frozenset(self.get("CODES", ()))


def all_rows() -> list[Row]:
    """Every row, group by group."""
    paths = sorted(HERE.glob("*/*.py"))
    return [Row(p.parent.name, p.stem, _module(p.parent.name, p.stem)) for p in paths]


def _module(group: str, name: str) -> ModuleType:
    return importlib.import_module(f"tests.grading.hostile.{group}.{name}")
