"""A lab under the judge: its test cells in one namespace, the student's cells in another.

What runs between them is the real protocol, over a socketpair; the far side is a thread.
"""

import contextlib
import re
import socket
import threading
from pathlib import Path

import jupytext
import pytest

from tutor_lib.grading.protocol import far, judge, names

ROOT = Path(__file__).resolve().parents[2]
HIDDEN = re.compile(r"### BEGIN HIDDEN TESTS\n(.*?)### END HIDDEN TESTS", re.DOTALL)


class Submission:
    """The lab's own solution with some answers of a student's in it."""

    def __init__(self, lab, answers=None, until=None):
        """`answers` are sources by exercise; cells after the tests of `until` are left out."""
        self.notebook = jupytext.read(ROOT / "solutions" / lab / f"{lab}.md", fmt="md:myst")
        self.owned = names.owned(self.notebook)
        self.cells = {}
        for cell in self.notebook.cells:
            about = cell.metadata.get("nbgrader", {})
            if cell.cell_type == "code" and about:
                self.cells[about["grade_id"]] = cell
                if about["solution"] and about["grade_id"] in (answers or {}):
                    cell.source = answers[about["grade_id"]]
        if until:
            ids = [*self.cells]
            last = max(i for i, name in enumerate(ids) if until in self._tested(name))
            self.cells = {name: self.cells[name] for name in ids[: last + 1]}

    def _tested(self, name):
        return re.findall(r'^check\("[^"]+", (\w+)\)', self.cells[name].source)

    def sources(self, solutions):
        """The code of all cells but the tests; with the student's, or without."""
        for name, cell in self.cells.items():
            about = cell.metadata.nbgrader
            if not about.grade and (solutions or not about.solution):
                yield name, cell.source

    def tests(self, exercise):
        """The tests of an exercise, the visible and the hidden ones: {name: source}."""
        found = {}
        for name, cell in self.cells.items():
            if exercise in self._tested(name):
                found[name] = cell.source.splitlines()[0]
                found[f"{name}, hidden"] = HIDDEN.search(cell.source)[1]
        return found


def executed(sources, name="__main__"):
    """A namespace in which the cells were run."""
    namespace = {"__name__": name}
    for where, source in sources:
        exec(compile(source, f"<cell {where}>", "exec"), namespace)
    return namespace


def verdict(source, namespace):
    """None if the code runs to its end, else the error."""
    try:
        exec(compile(source, "<a test cell>", "exec"), namespace)
    except Exception as error:
        return error
    return None


@contextlib.contextmanager
def one_kernel(submission):
    """Run test cells where all others have run, as in JupyterLab and under nbgrader alone."""
    namespace = executed(submission.sources(solutions=True), "notebook")
    yield lambda source: verdict(source, namespace)


@contextlib.contextmanager
def two_kernels(submission):
    """Run test cells in the judge's namespace, and all else in the student's."""
    judges = executed(submission.sources(solutions=False), "judges")
    students = executed(submission.sources(solutions=True), "notebook")

    def run(source):
        judge.lend(names.lent(source, submission.owned), judges)
        try:
            return verdict(source, judges)
        finally:
            judge.done(judges)

    with served(students):
        yield run


@contextlib.contextmanager
def served(namespace):
    """Lend what is in the namespace, from a thread, to whoever reads TUTOR_LINK."""
    over = threading.Event()

    def serving():
        while not over.is_set():
            far.serve(namespace, theirs.fileno())

    with contextlib.ExitStack() as stack:
        ours, theirs = map(stack.enter_context, socket.socketpair())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("TUTOR_LINK", str(ours.fileno()))
        thread = threading.Thread(target=serving)
        thread.start()
        try:
            yield
        finally:
            over.set()
            ours.shutdown(socket.SHUT_RDWR)
            thread.join(10)
            assert not thread.is_alive()
