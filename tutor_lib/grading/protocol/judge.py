"""What the judge's kernel calls around a test cell: borrow the student's names, give them back."""

import os
import sys
from collections.abc import Sequence
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from tutor_lib.grading.protocol.link import Link
from tutor_lib.grading.protocol.session import CannotCarry, Session, StudentGone
from tutor_lib.grading.protocol.talk import DONE
from tutor_lib.grading.protocol.values import WireError

__all__ = ["CannotCarry", "StudentGone", "WireError", "done", "lend", "test"]

_sessions: dict[tuple[int, int], Session] = {}  # by socket: proxies outlive a test cell


def lend(names: Sequence[str], namespace: dict[str, Any] | None = None) -> None:
    """Bind the student's objects of these names in `namespace` (default: that of `__main__`).

    Data are copied, anything else is a proxy. A name that the student has not defined is
    removed, so that Python says so itself. Raises StudentGone if the student's kernel does not
    answer, WireError if it answers nonsense, or what else went wrong there; then none is bound.
    """
    bound = _namespace(namespace)
    for name in names:
        bound.pop(name, None)
    session = _session()
    found = {name: session.look_up(name) for name in names}
    session.lent |= {*names}
    bound.update({name: value for name, (there, value) in found.items() if there})


async def test(source: str, names: Sequence[str]) -> bool:
    """Run a test cell in this kernel with what it borrows; does it come to its end?

    What the cell shows, and its error, are shown as if it ran by itself. Raises what `lend` does.
    """
    shell: Any = InteractiveShell.instance()
    try:
        lend(names)
        code = shell.transform_cell(source)
        ran = await shell.run_cell_async(source, store_history=True, transformed_cell=code)
    finally:
        done()
    return bool(ran.success)


def done(namespace: dict[str, Any] | None = None) -> None:
    """Unbind what was lent, and tell the student's side that it is not needed any more.

    If that side is gone already, it need not be told.
    """
    session, bound = _session(), _namespace(namespace)
    for name in session.lent:
        bound.pop(name, None)
    session.lent.clear()
    session.forget()
    try:
        session.ask(DONE, None)
    except Exception:  # gone, or an answer of the student's own making: it does not matter now
        pass


def _namespace(namespace: dict[str, Any] | None) -> dict[str, Any]:
    return sys.modules["__main__"].__dict__ if namespace is None else namespace


def _session() -> Session:
    number = int(os.environ["TUTOR_LINK"])
    about = os.fstat(number)
    key = about.st_dev, about.st_ino
    return _sessions.get(key) or _sessions.setdefault(key, Session(Link(number)))
