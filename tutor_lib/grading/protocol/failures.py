"""Errors as they travel: the names of their types, and a message; never the object itself."""

import builtins
import functools
import linecache
import os
import sysconfig
import traceback
from collections.abc import Sequence
from typing import Any

MESSAGE, NAME, NAMES = 4_000, 100, 20
Place = tuple[str, int, str]

# Without those that end a program: a student's SystemExit must not end the judge.
_BUILTIN: dict[str, type[Exception]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Exception)
}


def told(error: BaseException) -> tuple[list[str], str]:
    """The names of an error's type and of those it derives from, and its message, both capped."""
    names = [str(kind.__name__)[:NAME] for kind in type(error).__mro__[:NAMES]]
    try:
        one_text = len(error.args) == 1 and type(error.args[0]) is str
        message = error.args[0] if one_text else str(error)  # str of a KeyError adds quotes
        return names, str(message)[:MESSAGE]
    except Exception:  # its __str__ may be the student's
        return names, "(no message can be read)"


def made(names: Sequence[str], message: str) -> Exception:
    """The error of the nearest builtin type; RuntimeError if there is none."""
    for name in names:
        if (kind := _BUILTIN.get(name)) is not None:
            try:
                return kind(message)
            except TypeError:  # UnicodeDecodeError and its like ask for more than a message
                continue
    return RuntimeError(f"{names[0]}: {message}" if names else message)


def place(error: BaseException) -> Place | None:
    """Function, line number and text of the innermost frame that is no library's."""
    frames = traceback.walk_tb(error.__traceback__)
    own = [(f.f_code, line) for f, line in frames if not _is_librarys(f.f_code.co_filename)]
    if not own:
        return None
    code, line = own[-1]
    return code.co_name[:NAME], line, linecache.getline(code.co_filename, line).strip()[:NAME]


@functools.cache
def _is_librarys(filename: str) -> bool:
    return filename.startswith("<frozen") or os.path.abspath(filename).startswith(_folders())


@functools.cache
def _folders() -> tuple[str, ...]:
    """Where Python's own files, its packages and this library lie."""
    found = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    found.append(os.path.abspath(os.path.join(__file__, "..", "..", "..")))
    return tuple({*found, *map(os.path.realpath, found)})


def raised(names: Any, message: Any, where: Any) -> Exception:
    """The error that a reply tells of, with `student_type` and `place`.

    Raises ValueError if what is told is none.
    """
    if type(names) is not list or not names or {type(name) for name in names} != {str}:
        raise ValueError("an error without the name of its type")
    if type(message) is not str or not (where is None or _is_place(where)):
        raise ValueError("an error with a message or a place of the wrong type")
    error: Any = made([name[:NAME] for name in names[:NAMES]], message[:MESSAGE])
    error.student_type = names[0][:NAME]
    error.place = None if where is None else (where[0][:NAME], where[1], where[2][:NAME])
    return error


def _is_place(where: Any) -> bool:
    return type(where) is tuple and [type(part) for part in where] == [str, int, str]
