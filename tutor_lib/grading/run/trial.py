"""Try a lab under the judge when it is built, so that no student meets what cannot be carried."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from tutor_lib.grading.intake.canon import Canon
from tutor_lib.grading.limits import Limits
from tutor_lib.grading.run.bundle import JUDGE, Bundle
from tutor_lib.grading.run.bundler import Bundler
from tutor_lib.grading.run.pool import Pool
from tutor_lib.grading.run.store import Store
from tutor_lib.grading.submission import Result, Submission


def try_out(course: Path, lab: str, pool: Pool) -> None:
    """Grade the lab's own answers as a submission; every test cell has to pass.

    What was tried once, and has not changed, is not tried again.

    Raises ValueError that names each test cell that does not pass and says why, and SandboxError
    where this machine has no sandbox.
    """
    source = Canon.of(course, lab).source
    tried = Bundler(source, Limits()).bundle(Submission(lab, "solution", _blank(source)))
    store = Store(course / "build" / "graded")
    result = store.get(tried.key) or next(pool.run([(lab, tried)]))[1]
    if complaints := list(_complaints(tried, result)):
        raise ValueError(f"{lab}: its own answers fail under the judge.\n" + "\n".join(complaints))
    store.put(tried.key, result)


def _blank(source: NotebookNode) -> NotebookNode:
    notebook = nbformat.from_dict(source)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    return notebook


def _complaints(tried: Bundle, result: Result) -> Iterator[str]:
    for cell in tried.cells:
        if cell.runs == JUDGE and cell.grade_id not in result.finished:
            outputs = result.outputs[cell.place] if result.outputs else ()
            errors = [f"{o['ename']}: {o['evalue']}" for o in outputs if "ename" in o]
            yield f"  {cell.grade_id}: {' '.join(errors) or 'it did not come to its end'}"
    yield from (f"  {note.cell or 'the notebook'}: {note.told}" for note in result.notes)
