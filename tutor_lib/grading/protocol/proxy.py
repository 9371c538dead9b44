"""What stands in the judge's kernel for an object of the student's.

A proxy asks the student's side for what is the student's to tell: attributes, items, calls,
length, truth. It never asks there whether something is right. Two proxies are equal if they are
one; there is no order; and an operator between a proxy and a value of the judge is refused, since
`abs(theirs - expected)` would hand the expected value over and believe what comes back.
"""

import builtins
import operator
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from tutor_lib.grading.protocol import failures, far
from tutor_lib.grading.protocol.values import MAX_ITEMS, WireError


class Asking(Protocol):
    """What a proxy needs of the judge's side."""

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a function in the student's kernel."""

    def beside(self, function: Callable[..., Any]) -> Any:
        """A proxy of a function in the student's kernel."""

    def dropped(self, handle: int, times: int) -> None:
        """Take note that a handle is held no more."""


class Known:
    """What the judge knows of an object: who to ask, its handle, and what it is called."""

    __slots__ = ("handle", "label", "session", "times")

    def __init__(self, session: Asking, handle: int, kind: str, name: str | None) -> None:
        self.session, self.handle, self.times = session, handle, 0
        self.label = f"<{_clean(name)}, a {_clean(kind)} of the student's>"
        if name is None:
            self.label = f"<a {_clean(kind)} of the student's>"


def _clean(name: str | None) -> str:
    return "".join(c for c in name or "" if c.isprintable())[:80]


_SHOWN = {"__name__", "__qualname__", "__doc__"}
# Methods that would ask the student's code whether it is right.
_COMPARING = {"eq", "ne", "equal", "equals", "allclose", "isclose", "array_equal"}
_OURS = ("_repr_", "_ipython_", "_judge_")  # how it is shown is not the student's to say


class StudentObject:
    """An object in the student's kernel. Data that it gives are copies."""

    __slots__ = ("__weakref__", "_judge_knows")
    __doc__ = property(lambda self: _asked(self, builtins.getattr, "__doc__"))
    __array_ufunc__ = None  # so that numpy leaves an operator to the methods below
    _judge_knows: Known

    def __init__(self, known: Known) -> None:
        object.__setattr__(self, "_judge_knows", known)

    def __del__(self) -> None:
        known = self._judge_knows
        known.session.dropped(known.handle, known.times)

    def __repr__(self) -> str:
        return self._judge_knows.label

    def __beside__(self, function: Callable[..., Any]) -> Any:
        """A proxy of `function`, which can be imported, in the student's kernel.

        There it works on the objects themselves: `theirs.__beside__(f)(theirs, 3)`. Raises
        CannotCarry if it cannot be imported.
        """
        return self._judge_knows.session.beside(function)

    def __getattr__(self, name: str) -> Any:
        _refuse(self, name)
        return _asked(self, builtins.getattr, name)

    def __setattr__(self, name: str, value: Any) -> None:
        _refuse(self, name)
        _asked(self, builtins.setattr, name, value)

    def __delattr__(self, name: str) -> None:
        _refuse(self, name)
        _asked(self, builtins.delattr, name)

    def __getitem__(self, key: Any) -> Any:
        return _asked(self, operator.getitem, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        _asked(self, operator.setitem, key, value)

    def __delitem__(self, key: Any) -> None:
        _asked(self, operator.delitem, key)

    def __len__(self) -> int:
        return _expect(int, _asked(self, builtins.len))

    def __bool__(self) -> bool:
        """Asked there, as its length is: a container may be empty."""
        return _expect(bool, _asked(self, operator.truth))

    def __iter__(self) -> Iterator[Any]:
        return _items(self._judge_knows.session, _asked(self, builtins.iter))

    def __next__(self) -> Any:
        if not (items := _expect(list, _asked(self, far.one))):
            raise StopIteration
        return items[0]

    def __enter__(self) -> Any:
        return _asked(self, far.entered)

    def __exit__(self, kind: Any, error: BaseException | None, place: Any) -> None:
        """End the block there. An error in it always goes on: it may be the judge's own."""
        if error is None:
            _asked(self, far.left, None)
            return
        try:  # what is told is the nearest builtin type: the message may hold what was expected
            _asked(self, far.left, type(failures.made(failures.told(error)[0], ""))())
        except Exception:  # not instead of the error in the block
            pass

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError(f"{self!r} cannot be copied or pickled: it is in the student's kernel")

    def __mro_entries__(self, bases: Any) -> Any:
        raise TypeError(f"{self!r} is in the student's kernel: no class of a test derives from it")


_REFUSED = (
    "{0!r}: .{1} is not asked of the student's code, whose answer could lie. Compare what it "
    "gives with a function of your own, or say theirs.__beside__(function)(theirs), which runs a "
    "function of yours in the student's kernel"
)


class StudentCallable(StudentObject):
    """A function, a class or another object that can be called, in the student's kernel."""

    __slots__ = ()
    __doc__ = StudentObject.__dict__["__doc__"]

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        """Call it where it is, and wait for what comes of it."""
        return self._judge_knows.session.call(self, *args, **kwargs)

    def __instancecheck__(self, instance: Any) -> bool:
        """Only an object of the student's can be of a class of the student's."""
        if not issubclass(type(instance), StudentObject):
            return False
        return _expect(bool, _asked(instance, builtins.isinstance, self))


def _refuse(proxy: StudentObject, name: str) -> None:
    special = name[:2] == name[-2:] == "__" and name not in _SHOWN
    if special or name in _COMPARING or name.startswith(_OURS):
        raise AttributeError(_REFUSED.format(proxy, name))


def _asked(proxy: StudentObject, function: Callable[..., Any], *args: Any) -> Any:
    return proxy._judge_knows.session.call(function, proxy, *args)


def _expect(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise WireError(f"the student's side gave a {type(value).__name__}, no {kind.__name__}")
    return value


def _items(session: Asking, iterator: Any) -> Iterator[Any]:
    count = 0
    while items := _expect(list, session.call(far.following, iterator)):
        count += len(items)
        if count > MAX_ITEMS:
            raise WireError(f"{iterator!r} gave more than {MAX_ITEMS:,} items")
        yield from items


def _operator(function: Callable[..., Any]) -> Callable[..., Any]:
    def apply(self: StudentObject, *others: Any) -> Any:
        if not all(issubclass(type(other), StudentObject) for other in others):
            raise TypeError(_OPERATOR.format(self, function.__name__))
        return _asked(self, function, *others)

    return apply


_OPERATOR = (
    "an operator between {0!r} and a value of the judge would hand that value to the student's "
    "code and believe the result. If it is meant, say it: "
    "theirs.__beside__(operator.{1})(theirs, value)"
)
_UNARY = "neg pos invert abs"
_BINARY = "add sub mul matmul truediv floordiv mod pow lshift rshift and_ or_ xor"
for _function in [getattr(operator, _name) for _name in f"{_UNARY} {_BINARY}".split()]:
    _plain = _function.__name__.strip("_")
    setattr(StudentObject, f"__{_plain}__", _operator(_function))
    if _plain not in _UNARY:  # the other way round the left side is the judge's: refused
        setattr(StudentObject, f"__r{_plain}__", _operator(_function))
