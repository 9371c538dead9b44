"""A lab small enough to read, and what a student makes of it."""

import copy
import json
from datetime import UTC, datetime

from tutor_lib.grading.intake import take_in

NOW = datetime(2024, 6, 1, tzinfo=UTC)
SETUP, DOUBLE, DOUBLE_CHECK, TRIPLE, TRIPLE_CHECK, WHY, ESSAY = IDS = (
    "setup", "double", "double_check", "triple", "triple_check", "why", "essay",
)  # fmt: skip
LOCKED = (SETUP, DOUBLE_CHECK, TRIPLE_CHECK, ESSAY)
OPEN = (DOUBLE, TRIPLE, WHY)


def about(grade_id, **flags):
    """nbgrader's metadata of a cell."""
    plain = {"grade": False, "locked": False, "schema_version": 3, "solution": False, "task": False}
    return {"nbgrader": plain | {"grade_id": grade_id} | flags}


def cell(kind, source, metadata=None, **more):
    """A cell as it is in a file."""
    code = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": metadata or {}, "source": source} | code | more


def exercise(name, factor):
    """A function to write, and its check with a hidden test."""
    answer = f"    ### BEGIN SOLUTION\n    return {factor} * x\n    ### END SOLUTION"
    hidden = f"### BEGIN HIDDEN TESTS\nassert {name}(5) == {5 * factor}\n### END HIDDEN TESTS"
    check = f"assert {name}(1) == {factor}\n{hidden}"
    return [
        cell("code", f"def {name}(x):\n{answer}", about(name, solution=True)),
        cell("code", check, about(f"{name}_check", grade=True, locked=True, points=2)),
    ]


SOURCE = [
    cell("markdown", "# Tiny"),
    cell("code", "import math", about(SETUP, locked=True)),
    *exercise("double", 2),
    cell("code", "double(4)"),
    *exercise("triple", 3),
    cell("markdown", "Because.", about(WHY, grade=True, solution=True, points=1)),
    cell("markdown", "Draw it.", about(ESSAY, task=True, locked=True, points=1)),
]
ANSWERS = {
    DOUBLE: "def double(x):\n    return x + x",
    TRIPLE: "def triple(x):\n    return x + x + x",
    WHY: "Because of the sum.",
}


def answered(release):
    """The release as JSON, filled in honestly."""
    book = copy.deepcopy(json.loads(json.dumps(release)))
    for cell in book["cells"]:
        cell["source"] = ANSWERS.get(name_of(cell), cell["source"])
    return book


def name_of(cell):
    return cell["metadata"].get("nbgrader", {}).get("grade_id")


def find(book, grade_id):
    """The first cell of this grade_id."""
    return next(c for c in book["cells"] if name_of(c) == grade_id)


def place(book, grade_id):
    """Where it is."""
    return book["cells"].index(find(book, grade_id))


class Folder:
    """A student's folder: `put` files there, then `take` them in."""

    def __init__(self, path, canon):
        self.path, self.canon = path / "submitted" / "bob" / "tiny", canon
        self.path.mkdir(parents=True)

    def put(self, data, name="tiny.ipynb"):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(data, dict | list):
            data = json.dumps(data)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def take(self):
        return take_in(self.path, "bob", self.canon, NOW)

    def taken(self, book):
        """What becomes of this notebook."""
        self.put(book)
        return self.take()


def codes(submission):
    return {note.code for note in submission.notes}


def noted(submission):
    return {(note.code, note.cell) for note in submission.notes}


def sources(submission):
    """The text of the lab's cells, by grade_id, in order."""
    return {name_of(c): c.source for c in submission.notebook.cells if name_of(c)}


def texts(submission):
    """The texts of all code cells that are not the lab's."""
    return [c.source for c in submission.notebook.cells if c.cell_type == "code" and not name_of(c)]
