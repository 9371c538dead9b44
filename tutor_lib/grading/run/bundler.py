"""From a submission to what a worker gets."""

import ast
import functools
import hashlib
import platform
from importlib import metadata
from pathlib import Path

from nbformat import NotebookNode
from nbgrader.utils import is_grade, is_locked, is_solution

from tutor_lib.grading.limits import Limits
from tutor_lib.grading.protocol.names import lent, owned
from tutor_lib.grading.run.bundle import BOTH, JUDGE, STUDENT, Bundle, Cell
from tutor_lib.grading.submission import Submission

PACKAGES = ("torch", "numpy", "matplotlib", "ipykernel", "ipython")
LIBRARY = Path(__file__).resolve().parents[2]


class Bundler:
    """Makes the bundles of one lab's submissions. What its source tells is read once.

    The names that the source's open cells define are the student's: test cells borrow them.

    Raises ValueError if a locked and an open cell of the source define the same name.
    """

    def __init__(self, source: NotebookNode, limits: Limits) -> None:
        self.limits, self.owned, self.imports = limits, owned(source), imports(source)

    def bundle(self, submission: Submission) -> Bundle:
        """The bundle of a submission."""
        numbered = enumerate(submission.notebook.cells)
        return Bundle(
            lab=submission.lab,
            # What the checks take for a seed where no variable is set: the folder's last two names.
            seed=f"{submission.student}/{submission.lab}",
            length=len(submission.notebook.cells),
            cells=tuple(self._cell(n, cell) for n, cell in numbered if cell.cell_type == "code"),
            files=submission.files,
            limits=self.limits,
            imports=self.imports,
            environment=environment(),
        )

    def _cell(self, place: int, cell: NotebookNode) -> Cell:
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        if not is_locked(cell):
            return Cell(place, cell.source, STUDENT, grade_id)
        if is_grade(cell) and not is_solution(cell):
            return Cell(place, cell.source, JUDGE, grade_id, _lent(cell.source, self.owned))
        return Cell(place, cell.source, BOTH, grade_id)


@functools.cache
def _lent(source: str, theirs: frozenset[str]) -> tuple[str, ...]:
    return tuple(lent(source, theirs))


def imports(source: NotebookNode) -> tuple[str, ...]:
    """The modules that the cells of a lab's source import, for a kernel to have ready."""
    codes = [cell.source for cell in source.cells if cell.cell_type == "code"]
    return tuple(sorted(set[str]().union(*map(_imported, codes))))


def _imported(code: str) -> set[str]:
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except SyntaxError:  # a magic; what it imports is imported when it runs
        return set()
    plain = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
    return plain | {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}


@functools.cache
def environment() -> str:
    """A digest of Python, the packages that cells use, and this library's files."""
    digest = hashlib.sha256(f"{platform.python_version()} {platform.machine()}".encode())
    for package in PACKAGES:
        digest.update(f"{package} {_version(package)}\n".encode())
    for path in sorted(LIBRARY.rglob("*.py")):
        digest.update(str(path.relative_to(LIBRARY)).encode() + path.read_bytes())
    return digest.hexdigest()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "absent"
