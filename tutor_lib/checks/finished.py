"""See when an answer calls the finished thing instead of building it.

While the student's code runs, Python reports every call. One that comes from the student's own
lines and goes to a function of a forbidden name, or into a package that has it ready-made, is
noted. It does not matter under which name the student imported it. (A call that a C function
makes, such as `map`, is seen only if it goes to Python code.)
"""

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

READY_MADE = "{}, which is the finished thing. Here you build it yourself."

PACKAGES = ("tutor_lib", "peft", "transformers", "bitsandbytes", "torchtune", "xformers")
# Calls pass through these: modules calling `forward`, and the shape checker of our own tests.
BETWEEN = {"torch", "scipy", "jaxtyping", "beartype"} | sys.stdlib_module_names


def _root(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).split(".")[0]


def _is_students(frame: FrameType | None) -> bool:
    """Is this line, or the one that led to it through PyTorch or Python's library, theirs?"""
    while frame is not None and _root(frame) in BETWEEN:
        frame = frame.f_back
    return frame is not None and _root(frame) not in PACKAGES


def _code_of(thing: Any) -> Iterator[CodeType]:
    """The code of a function, or of all methods of a class."""
    members = vars(thing).values() if inspect.isclass(thing) else [thing]
    for member in members:
        code = getattr(inspect.unwrap(member), "__code__", None) if callable(member) else None
        if code is not None:
            yield code


class Watch:
    """Notes the first call from the student's code to something that is to be written."""

    def __init__(
        self, names: Iterable[str], welcome: Iterable[str] = (), lent: Iterable[Any] = ()
    ) -> None:
        """Watch for functions called `names` and for all of `PACKAGES`.

        `welcome` are prefixes of modules that may be called nevertheless, `lent` the functions
        and classes that stand in for the student's other answers.
        """
        self.names, self.welcome = frozenset(names), tuple(welcome)
        self.lent = {code for thing in lent for code in _code_of(thing)}
        self.seen: str | None = None
        # What was called before, and whether it is forbidden: there are thousands of calls.
        self._codes: dict[int, tuple[CodeType, str | None]] = {}  # by id, and so kept
        self._builtins: dict[str, str | None] = {}

    def over(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with its calls noted."""

        def watched(*arguments: Any) -> Any:
            before = sys.getprofile()
            sys.setprofile(self._note)
            try:
                return function(*arguments)
            finally:
                sys.setprofile(before)

        return watched

    def _note(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            name, caller = self._of_python(frame), frame.f_back
        elif event == "c_call":
            name, caller = self._of_c(argument), frame
        else:
            return
        if name and not self.seen and _is_students(caller):
            self.seen = name

    def _of_c(self, function: Callable[..., Any]) -> str | None:
        name = getattr(function, "__name__", "")
        if name not in self._builtins:
            # torch._softmax and torch.special.softmax go by other names.
            plain = name.removeprefix("special").lstrip("_")
            self._builtins[name] = name if plain in self.names else None
        return self._builtins[name]

    def _of_python(self, frame: FrameType) -> str | None:
        code = frame.f_code
        if id(code) not in self._codes:
            self._codes[id(code)] = code, self._forbidden(frame)
        return self._codes[id(code)][1]

    def _forbidden(self, frame: FrameType) -> str | None:
        if frame.f_code in self.lent:
            return None
        module, path = str(frame.f_globals.get("__name__", "")), frame.f_code.co_qualname
        if _root(frame) in BETWEEN:
            return next((part for part in path.split(".") if part in self.names), None)
        ready = _root(frame) in PACKAGES and not module.startswith(self.welcome or ("\0",))
        return f"{module}.{path}" if ready else None


def ready_made(student: Any, names: Iterable[str] = ()) -> str | None:
    """Where an answer comes from, if it was not written but imported or inherited.

    A class may well inherit from one of PyTorch's, if it is not among `names`.
    """
    while isinstance(student, functools.partial):
        student = student.func
    is_class = inspect.isclass(student)
    for thing in inspect.getmro(student) if is_class else [inspect.unwrap(student)]:
        module = getattr(thing, "__module__", None) or type(thing).__module__
        name = getattr(thing, "__name__", type(thing).__name__)
        root = module.split(".")[0]
        if root in PACKAGES or (root in ("torch", "builtins") and (name in names or not is_class)):
            return f"{module}.{name}"
    return None
