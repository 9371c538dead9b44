"""The judge: run a lab's test cells, each with the student's names borrowed for it alone."""

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

from jupyter_client.jsonutil import json_default

from tutor_lib.grading.protocol.held import let_through
from tutor_lib.grading.protocol.link import Link
from tutor_lib.grading.protocol.session import CannotCarry, Session, StudentGone
from tutor_lib.grading.protocol.shell import Shell, Shown
from tutor_lib.grading.protocol.talk import DONE
from tutor_lib.grading.protocol.values import WireError

__all__ = ["CannotCarry", "StudentGone", "WireError", "done", "lend", "serve"]

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


def serve(channel: BinaryIO, answers: BinaryIO, room: int) -> None:
    """Run the cells that come, one line of JSON each, and answer how each went, until no more come.

    A cell is `{"source": …, "names": […], "last": …}`. If names is null, nobody need serve them;
    else the student's side does, until after the `last` it is told that it is done. The answer
    has its outputs, `room` bytes of them at most. An interrupt stops the cell.
    """
    shell, running = Shell.start(), False
    with let_through(lambda: running):
        for line in channel:
            running = True
            passed, shown = _run(shell, room, **json.loads(line))
            running = False
            told = {"passed": passed, "outputs": shown.outputs, "full": shown.is_full}
            answers.write(json.dumps(told, default=json_default).encode() + b"\n")
            answers.flush()


def _run(
    shell: Shell, room: int, source: str, names: Sequence[str] | None, last: bool
) -> tuple[bool, Shown]:
    if names is None:
        return shell.run(source, room)
    try:
        lend(names)
        return shell.run(source, room)
    except Exception as error:  # the student's side does not answer, or answers nonsense
        return False, _shown(error)
    finally:
        done(last=last)


def _shown(error: Exception) -> Shown:
    shown = Shown(sys.maxsize)
    name, told = type(error).__name__, str(error)
    shown.add({"output_type": "error", "ename": name, "evalue": told, "traceback": [told]})
    return shown


def done(namespace: dict[str, Any] | None = None, last: bool = True) -> None:
    """Unbind what was lent, and after the `last` tell the student's side that it is done.

    If that side is gone already, it need not be told.
    """
    session, bound = _session(), _namespace(namespace)
    for name in session.lent:
        bound.pop(name, None)
    session.lent.clear()
    session.forget()
    if not last:
        return
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
