"""A course with one small lab, `probe`, and submissions to it."""

import shutil
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell

from tutor_lib.grading import build

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
LAB = "probe"
POINTS = {"double_check": 2, "Stack_check": 3, "squares_check": 2, "claim_check": 2}
RIGHT = {
    "double": "def double(x):\n    return x + x\n",
    "Stack": """class Stack(list):
    push = list.append
""",
    "squares": "def squares(numbers):\n    return [n**2 for n in numbers]\n",
    "claim": "def claim():\n    return 1 + 1\n",
}
WRONG = {
    "double": "def double(x):\n    return 3 * x\n",
    "Stack": """class Stack:
    def push(self, item):
        self.item = item

    def pop(self):
        return 0
""",
    "squares": "def squares(numbers):\n    return numbers\n",
    "claim": "def claim():\n    return 0\n",
}


def make_course(folder: Path) -> Path:
    """A course in this folder, its lab released and in the gradebook."""
    (folder / "solutions" / LAB).mkdir(parents=True)
    shutil.copy(HERE / "probe.md", folder / "solutions" / LAB / "probe.md")
    shutil.copy(ROOT / "nbgrader_config.py", folder)
    build.release(folder, LAB)
    return folder


def release(course: Path) -> nbformat.NotebookNode:
    """The notebook that students get."""
    return nbformat.read(course / "labs" / LAB / f"{LAB}.ipynb", as_version=4)


def filled(course: Path, answers: dict[str, str], first: str = "") -> nbformat.NotebookNode:
    """The released notebook with these answers, and a cell of the student's at the top."""
    notebook = release(course)
    for cell in notebook.cells:
        if (name := cell.metadata.get("nbgrader", {}).get("grade_id")) in answers:
            cell.source = answers[name]
    if first:
        notebook.cells.insert(0, new_code_cell(first, id="first"))
    return notebook


def cell(notebook: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode:
    """The cell with this grade_id."""
    return next(c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade_id") == name)


def submit(course: Path, student: str, notebook: nbformat.NotebookNode) -> Path:
    """Hand a notebook in, and return the folder it is in."""
    folder = course / "submitted" / student / LAB
    folder.mkdir(parents=True)
    nbformat.write(notebook, folder / f"{LAB}.ipynb")
    return folder
