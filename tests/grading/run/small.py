"""Small bundles, and what came of them."""

import os
import time

import psutil

from tutor_lib.grading.limits import MIB, Limits
from tutor_lib.grading.run.bundle import BOTH, JUDGE, STUDENT, Bundle, Cell

SMALL = Limits(cell_seconds=4, notebook_seconds=20, memory_bytes=300 * MIB, processes=30,
               output_bytes=100_000, output_messages=500)  # fmt: skip


def student(source):
    return Cell(0, source, STUDENT)


def both(source):
    return Cell(0, source, BOTH)


def judged(source, *lent):
    return Cell(0, source, JUDGE, None, lent)


def bundle_of(*cells, limits=SMALL, files=None, seed="ann/probe"):
    """A bundle of these cells; test cells are named by their places."""
    names = [f"test{n}" if cell.runs == JUDGE else None for n, cell in enumerate(cells)]
    placed = [Cell(n, c.source, c.runs, names[n], c.lent) for n, c in enumerate(cells)]
    return Bundle("probe", seed, len(cells), tuple(placed), files or {}, limits, (), "here")


def codes(result):
    return [note.code for note in result.notes]


def text(result, place):
    """What a cell printed."""
    return "".join(o.get("text", "") for o in result.outputs[place])


def errors(result, place):
    return [o["ename"] for o in result.outputs[place] if o["output_type"] == "error"]


def descendants(pid=None):
    """The processes below one, that are not just waited for."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            pass
    return found


def wait_until(is_so, seconds=30):
    """Wait for something that should come soon."""
    end = time.monotonic() + seconds
    while not (found := is_so()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def is_there(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
