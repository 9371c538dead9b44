"""The student's side: do what the judge asks, and say what came of it.

The student's code runs in this process and can change everything here. That is why nothing the
judge relies on is decided here.
"""

import collections
import contextlib
import importlib
import itertools
import os
import sys
import threading
from collections.abc import Iterator
from typing import Any

from tutor_lib.grading.protocol import failures, wire
from tutor_lib.grading.protocol.held import let_through
from tutor_lib.grading.protocol.link import HungUp, Link
from tutor_lib.grading.protocol.talk import CALL, DROP, NAME, Talk, resolved
from tutor_lib.grading.protocol.values import WireError

BATCH = 64
# Iterators of Python's own containers: to run ahead of the judge in them changes nothing.
_KINDS: tuple[Any, ...] = (list, tuple, dict, set, str, bytes, collections.deque)
_AHEAD = {*(type(iter(kind())) for kind in _KINDS), type(iter({}.values())), type(iter({}.items()))}

_sides: dict[tuple[int, int], "Far"] = {}  # by socket: what the judge holds outlives a call


def serve(namespace: dict[str, Any] | None = None, link: int | None = None) -> None:
    """Answer the judge until it says that it is done, or hangs up.

    `namespace` is where names are looked up (default: that of `__main__`), `link` the number of
    the socket's file descriptor (default: from the environment, TUTOR_LINK).
    """
    number = int(os.environ["TUTOR_LINK"]) if link is None else link
    about = os.fstat(number)
    key = about.st_dev, about.st_ino
    side = _sides.get(key) or _sides.setdefault(key, Far(Link(number)))
    try:
        side.serve(sys.modules["__main__"].__dict__ if namespace is None else namespace)
    except BaseException as error:
        del _sides[key]
        side.link.shut()
        with contextlib.suppress(OSError):  # by its number, if the student's code closed the other
            Link(number).shut()  # else the judge would wait for ever
        if not isinstance(error, HungUp | WireError):
            raise


class Callback:
    """A function of the judge: it can be called, and nothing else."""

    def __init__(self, far: "Far", handle: int) -> None:
        self._far, self._handle = far, handle

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it where it is, and wait."""
        return self._far.call_back(self, args, kwargs)


class Far(Talk):
    """The student's objects that the judge holds, by handle."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._objects: dict[int, Any] = {}
        self._handles: dict[int, int] = {}  # by the id of an object, which is held and stays
        self._sent: collections.Counter[int] = collections.Counter()
        self._next = itertools.count(1)
        self._namespace: dict[str, Any] = {}
        self._thread, self._is_done, self._is_running = 0, False, False

    def serve(self, namespace: dict[str, Any]) -> None:
        """Answer until the judge is done. Raises HungUp or WireError if the link has ended."""
        self._namespace, self._thread = namespace, threading.get_ident()
        self._is_done = False
        with let_through(lambda: self._is_running):
            while not self._is_done:
                self._is_running = False
                with contextlib.suppress(KeyboardInterrupt):  # it came too late for its code
                    self.attend()

    def do(self, frame: wire.Frame) -> Any:
        """Look up, call, let go, or end."""
        if frame.kind == NAME:
            name = self.read(frame)
            return name in self._namespace, self._namespace.get(name)
        if frame.kind == CALL:
            return self._run(*self.read(frame))
        if frame.kind == DROP:
            return self._drop(self.read(frame))
        self._is_done = True
        return None

    def _run(self, function: Any, args: Any, kwargs: Any) -> Any:
        before, self._is_running = self._is_running, True
        try:
            return function(*args, **kwargs)
        finally:
            self._is_running = before

    def after(self, error: BaseException) -> None:
        """Go on, after SystemExit and KeyboardInterrupt too."""

    def place(self, error: BaseException) -> failures.Place | None:
        """The line of the student's code."""
        return failures.place(error)

    def _drop(self, handles: list[tuple[int, int]]) -> None:
        for handle, times in handles:
            self._sent[handle] -= times
            if not self._sent[handle]:
                del self._sent[handle], self._handles[id(self._objects.pop(handle))]

    def call_back(self, callback: Callback, args: Any, kwargs: Any) -> Any:
        """Call a function of the judge."""
        if threading.get_ident() != self._thread:
            raise RuntimeError("a function of the judge can only be called from the main thread")
        return self.ask(CALL, (callback, args, kwargs))

    def refer(self, value: Any) -> list[Any]:
        """A handle, and what the judge's proxy shows of the object."""
        if type(value) is Callback and value._far is self:
            return ["yours", value._handle]
        handle = self._handles.get(id(value))
        if handle is None:
            handle = self._handles[id(value)] = next(self._next)
            self._objects[handle] = value
        self._sent[handle] += 1
        name = _name(value) if callable(value) else None
        return ["mine", handle, callable(value), type(value).__name__, name]

    def find(self, node: list[Any]) -> Any:
        """An object by handle, a function by name, a function of the judge to call."""
        match node:
            case ["yours", handle]:
                return self._objects[handle]
            case ["mine", handle]:
                return Callback(self, handle)
            case ["named", module, path]:
                return resolved(importlib.import_module(module), path)
        raise WireError("a reference that is none")


def _name(value: Any) -> str | None:
    """What a function or a class is called."""
    try:
        name = value.__name__
    except Exception:  # its __getattr__ is the student's
        return None
    return name if type(name) is str else None


# What the judge's proxies call here, by name.


def itself(value: Any) -> Any:
    """The value: so that a function which has a name gets a handle."""
    return value


def following(iterator: Iterator[Any]) -> list[Any]:
    """The next item or items; none at the end."""
    if type(iterator) in _AHEAD:
        return list(itertools.islice(iterator, BATCH))
    return one(iterator)


def one(iterator: Iterator[Any]) -> list[Any]:
    """The next item, if there is one."""
    try:
        return [next(iterator)]
    except StopIteration:
        return []


def entered(manager: Any) -> Any:
    """What a `with` statement binds."""
    return type(manager).__enter__(manager)


def left(manager: Any, error: BaseException | None) -> None:
    """End a `with` statement."""
    type(manager).__exit__(manager, error and type(error), error, None)
