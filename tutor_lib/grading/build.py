"""Make the notebooks that students open from the labs' text sources.

    solutions/<lab>/<lab>.md → build/source/<lab>/<lab>.ipynb → labs/<lab>/<lab>.ipynb

The first step is Jupytext's, the second nbgrader's, which takes out answers and hidden tests.
The same source gives the same bytes on every machine.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import jupytext
import nbformat
from jupytext.myst import MystMetadataParsingError
from nbformat import NotebookNode

from tutor_lib.grading.intake.canon import labs_of

# Without versions, so that the file does not depend on who makes it.
METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python"},
}
KEYS = {"grade", "grade_id", "locked", "schema_version", "solution", "task"}


def read_source(path: Path) -> NotebookNode:
    """The notebook in a MyST text file, with ids from `grade_id` or position and no outputs.

    Raises ValueError if the text is no MyST notebook, nbgrader's metadata in it are incomplete,
    or a `grade_id` comes twice.
    """
    try:
        notebook = nbformat.from_dict(jupytext.read(path, fmt="md:myst"))
    except (nbformat.ValidationError, MystMetadataParsingError) as error:
        raise ValueError(f"{path}: {str(error).splitlines()[0]}") from error
    check_metadata(notebook, path)
    for position, cell in enumerate(notebook.cells):
        cell.id = cell.metadata.get("nbgrader", {}).get("grade_id", f"cell-{position:02}")
    notebook.metadata = nbformat.from_dict(METADATA)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def check_metadata(notebook: NotebookNode, path: Path) -> None:
    """Raise ValueError if a cell's nbgrader metadata would not work, and say which cell."""
    seen: set[str] = set()
    for cell in notebook.cells:
        if (about := cell.metadata.get("nbgrader")) is None:
            problem = _unmarked(cell)
        else:
            problem = _malformed(about, cell) or _repeated(about["grade_id"], seen)
        if problem:
            first = next(iter(cell.source.splitlines()), "(empty)")
            raise ValueError(f"{path}: {problem}, in the cell that begins {first!r}")


def _unmarked(cell: NotebookNode) -> str | None:
    for region in ("BEGIN SOLUTION", "BEGIN HIDDEN TESTS"):
        if region in cell.source:
            return f"{region} in a cell without nbgrader metadata"
    return None


def _malformed(about: NotebookNode, cell: NotebookNode) -> str | None:
    if missing := sorted(KEYS - about.keys()):
        return f"nbgrader metadata without {', '.join(missing)}"
    graded = about["grade"] or about["task"]
    points = about.get("points")
    if graded and not (isinstance(points, int | float) and points >= 0):
        return f"{about['grade_id']} is graded and needs points of 0 or more, got {points!r}"
    if "BEGIN SOLUTION" in cell.source and not about["solution"]:
        return f"BEGIN SOLUTION, but {about['grade_id']} has solution: false"
    if "BEGIN HIDDEN TESTS" in cell.source and not about["grade"]:
        return f"BEGIN HIDDEN TESTS, but {about['grade_id']} has grade: false"
    return None


def _repeated(grade_id: str, seen: set[str]) -> str | None:
    if grade_id in seen:
        return f"grade_id {grade_id!r} comes twice"
    seen.add(grade_id)
    return None


def write_source(course: Path, lab: str) -> Path:
    """Write build/source/<lab>/<lab>.ipynb, with answers and hidden tests, and return its path."""
    notebook = read_source(course / "solutions" / lab / f"{lab}.md")
    path = course / "build" / "source" / lab / f"{lab}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
    return path


def release(course: Path, lab: str) -> Path:
    """Make labs/<lab>/<lab>.ipynb anew, enter the lab in the gradebook, and return the path.

    Raises ValueError if the source is malformed, and RuntimeError if nbgrader fails.
    """
    write_source(course, lab)
    command = [sys.executable, "-m", "nbgrader", "generate_assignment", lab, "--force"]
    # Only this folder's nbgrader_config.py counts, not one in the user's home.
    alone = os.environ | {"JUPYTER_NO_CONFIG": "1"}
    done = subprocess.run(command, cwd=course, capture_output=True, text=True, env=alone)
    if done.returncode:
        raise RuntimeError(f"nbgrader could not release {lab}:\n{done.stderr[-3000:]}")
    return course / "labs" / lab / f"{lab}.ipynb"


def main(arguments: Sequence[str] | None = None) -> int:
    """Release the labs named on the command line, or all."""
    options = _parser().parse_args(arguments)
    course = options.course.resolve()
    try:
        for lab in _chosen(options.labs, course):
            print(release(course, lab).relative_to(course))
    except (ValueError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _chosen(names: Iterable[str], course: Path) -> list[str]:
    there = labs_of(course)
    if not there:
        raise ValueError(f"no labs in {course / 'solutions'}; is this the course's folder?")
    for name in names:
        if name not in there:
            raise ValueError(f"no lab {name!r}; there are: {', '.join(there)}")
    return list(names) or there


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tutor_lib.grading.build", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("labs", nargs="*", metavar="LAB", help="which labs (default: all)")
    parser.add_argument(
        "--course", type=Path, default=Path(), help="folder with solutions/ and nbgrader_config.py"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
