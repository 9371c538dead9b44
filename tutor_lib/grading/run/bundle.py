"""What a worker gets: one submission, and all that its result depends on."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from tutor_lib.grading.limits import Limits

# Who runs a cell: the student's kernel, both kernels (a locked set-up), or the judge's.
STUDENT, BOTH, JUDGE = "student", "both", "judge"


@dataclass(frozen=True)
class Cell:
    """A code cell: its place in the notebook, who runs it, and what a test cell is lent."""

    place: int
    source: str
    runs: str
    grade_id: str | None = None
    lent: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bundle:
    """One submission to run. `length` counts the notebook's cells, text included.

    `imports` are the modules that a kernel should have ready; `environment` tells Python, its
    packages and this library apart from other versions.
    """

    lab: str
    seed: str
    length: int
    cells: tuple[Cell, ...]
    files: Mapping[str, bytes]
    limits: Limits
    imports: tuple[str, ...]
    environment: str

    @property
    def key(self) -> str:
        """The SHA-256 of everything: equal keys, equal results."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The bundle as one line of text."""
        about = asdict(self)
        about["files"] = {n: base64.b64encode(data).decode() for n, data in self.files.items()}
        return json.dumps(about, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Bundle":
        """The bundle that `to_json` wrote."""
        about = json.loads(text)
        cells = tuple(Cell(**c | {"lent": tuple(c["lent"])}) for c in about.pop("cells"))
        files = {name: base64.b64decode(data) for name, data in about.pop("files").items()}
        limits, imports = Limits(**about.pop("limits")), tuple(about.pop("imports"))
        return cls(**about, cells=cells, files=files, limits=limits, imports=imports)
