"""The judge's side of the conversation.

What is sent is what a test passes on: arguments, names, handles. What comes back is data or
proxies; nothing that comes back is imported or unpickled.
"""

import functools
import itertools
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

from tutor_lib.grading.protocol import far, wire
from tutor_lib.grading.protocol.link import HungUp, Link
from tutor_lib.grading.protocol.proxy import Known, StudentCallable, StudentObject
from tutor_lib.grading.protocol.talk import CALL, DROP, NAME, Talk, resolved
from tutor_lib.grading.protocol.values import WireError

CALLBACKS = 100_000  # that one question may lead to
_FUNCTIONS = (
    types.FunctionType,
    types.MethodType,
    types.BuiltinFunctionType,
    functools.partial,
)
# Where functions are found that do not know it themselves: torch.relu, torch.nn.functional.gelu.
_PLACES = ("torch", "torch.nn.functional")
_CANNOT = (
    "a {} cannot be carried to the student's kernel. Send its tensors and numbers, or build it "
    "there with a function that can be imported: theirs.__beside__(function)(...)"
)


class StudentGone(RuntimeError):
    """The student's kernel does not answer any more."""


class CannotCarry(TypeError):
    """A value of the judge that cannot be sent to the student's kernel."""


class Session(Talk):
    """The proxies that the judge holds, and the judge's functions that the student may call."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self.lent: set[str] = set()
        self._turn = threading.RLock()
        self._proxies = weakref.WeakValueDictionary[int, StudentObject]()
        self._dropped: list[tuple[int, int]] = []
        self._functions: dict[int, Callable[..., Any]] = {}
        self._handles: dict[int, int] = {}  # by the id of a function, which is held
        self._next = itertools.count(1)
        self._called_back = 0
        self._beside: dict[tuple[str, str], Any] = {}

    def ask(self, kind: str, body: Any) -> Any:
        """Ask the student's side; raises StudentGone, WireError, or what was raised there."""
        with self._turn:
            if not self._awaited:
                self._called_back = 0
            try:
                self._send_dropped()
                return super().ask(kind, body)
            except HungUp as gone:
                raise StudentGone(f"the student's kernel does not answer: {gone}") from None

    def look_up(self, name: str) -> tuple[bool, Any]:
        """Whether the student has defined a name, and what it is."""
        found = self.ask(NAME, name)
        if type(found) is tuple and len(found) == 2 and type(found[0]) is bool:
            return found
        raise self.nonsense("an answer that does not say whether there is such a name")

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function in the student's kernel, of theirs or one that can be imported."""
        return self.ask(CALL, (function, args, kwargs))

    def beside(self, function: Callable[..., Any]) -> Any:
        """A proxy of a function in the student's kernel, asked for once. Raises CannotCarry."""
        path = _importable(function)
        if path is None:
            raise CannotCarry(f"{function!r} cannot be imported; put it into a module")
        if path not in self._beside:
            self._beside[path] = self.call(far.itself, function)
        return self._beside[path]

    def dropped(self, handle: int, times: int) -> None:
        """Take note that a proxy is gone; the student's side is told with the next question."""
        self._dropped.append((handle, times))

    def _send_dropped(self) -> None:
        if self._dropped:
            handles, self._dropped = self._dropped, []
            self.send(wire.pack(DROP, 0, handles, self.refer))

    def forget(self) -> None:
        """Let go of the judge's functions: the student's side can call them no more."""
        self._functions.clear()
        self._handles.clear()

    def refer(self, value: Any) -> list[Any]:
        """A proxy's handle, the name of what can be imported, or a handle of a function."""
        if issubclass(type(value), StudentObject):
            if value._judge_knows.session is self:
                return ["yours", value._judge_knows.handle]
        elif path := _importable(value):
            return ["named", *path]
        elif type(value) in _FUNCTIONS:
            return ["mine", self._handle(value)]
        raise CannotCarry(_CANNOT.format(type(value).__name__))

    def _handle(self, function: Callable[..., Any]) -> int:
        if id(function) not in self._handles:
            handle = self._handles[id(function)] = next(self._next)
            self._functions[handle] = function
        return self._handles[id(function)]

    def find(self, node: list[Any]) -> Any:
        """A proxy of an object of the student's, or a function of the judge that comes back."""
        match node:
            case ["mine", int(handle), bool(called), str(kind), (None | str()) as name] if (
                type(handle) is int  # True is an int too
            ):
                return self._proxy(handle, called, kind, name)
            case ["yours", handle] if type(handle) is int:
                return self._functions.get(handle, _forgotten)
        raise WireError("a reference that is none")

    def _proxy(self, handle: int, called: bool, kind: str, name: str | None) -> StudentObject:
        proxy = self._proxies.get(handle)
        if proxy is None:
            known = Known(self, handle, kind, name)
            proxy = (StudentCallable if called else StudentObject)(known)
            self._proxies[handle] = proxy
        proxy._judge_knows.times += 1
        return proxy

    def read(self, frame: wire.Frame) -> Any:
        """The body of a frame. Raises WireError, and closes the link, if it is malformed."""
        try:
            return super().read(frame)
        except WireError as error:
            raise self.nonsense(str(error)) from None

    def do(self, frame: wire.Frame) -> Any:
        """Call a function of the judge for the student's code."""
        function, args, kwargs = self._asked_for(frame)
        if self.has_given_up():
            raise RuntimeError("the test that this call belonged to is over")
        return function(*args, **kwargs)

    def after(self, error: BaseException) -> None:
        """An interrupt is the judge's own and goes on; an error is the student's to hear."""
        if not isinstance(error, Exception):
            raise error

    def _asked_for(self, frame: wire.Frame) -> tuple[Callable[..., Any], Any, Any]:
        self._called_back += 1
        if self._called_back > CALLBACKS:
            raise self.nonsense(f"more than {CALLBACKS:,} calls of the judge's functions")
        match frame.body:
            case ["tuple", ["yours", _], ["tuple", *_], ["dict", *_]] if frame.kind == CALL:
                function, args, kwargs = self.read(frame)
                if all(type(key) is str for key in kwargs):
                    return function, args, kwargs
        raise self.nonsense("a question that is no call of a function of the judge")


def _forgotten(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("the test that this function belonged to is over")


def _importable(value: Any) -> tuple[str, str] | None:
    """Module and name under which another process finds the same: a function, class or module."""
    if type(value) is types.ModuleType:
        name = value.__name__
        return (name, "") if name != "__main__" and sys.modules.get(name) is value else None
    path = getattr(value, "__qualname__", None)
    if type(path) is not str:
        return None
    owner = getattr(value, "__objclass__", value)  # a method of a type of C code has one
    for module in (getattr(owner, "__module__", None), *_PLACES):
        if module != "__main__" and _means(module, path, value):
            return str(module), path
    return None


def _means(module: Any, path: str, value: Any) -> bool:
    try:
        return resolved(sys.modules[module], path) is value
    except (KeyError, TypeError, AttributeError):
        return False
