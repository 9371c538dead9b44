"""Turn functions and classes of a module into what a student would have typed."""

import ast
import functools
import importlib
import inspect
from collections.abc import Collection
from types import ModuleType
from typing import Any

Definition = ast.FunctionDef | ast.ClassDef


def cell(thing: Any, name: str, given: Collection[str] = ()) -> str:
    """The source of `thing`, and of all that it needs of its module, as a cell that defines `name`.

    Names in `given` are there already: the lab's other exercises. Docstrings and annotations
    are left out: a misconception's docstring is its hint, and a hint that is found in the answer
    itself would prove nothing.
    """
    gathered = _Gathered(given)
    gathered.take(inspect.getmodule(inspect.unwrap(thing)), thing.__name__)
    rename = [] if thing.__name__ == name else [f"{name} = {thing.__name__}"]
    return "\n\n".join([*gathered.lines, *rename]) + "\n"


class _Gathered:
    """The statements that a name needs, in an order in which they can run."""

    def __init__(self, given: Collection[str]) -> None:
        self.given, self.lines = given, []
        self.seen: set[tuple[str, str]] = set()
        self.meaning: dict[str, str] = {}

    def take(self, module: ModuleType, name: str) -> None:
        """Add what defines `name` in `module`, after what that needs."""
        statement = _statements(module).get(name)
        if statement is None or name in self.given or (module.__name__, name) in self.seen:
            return
        self.seen.add((module.__name__, name))
        if original := _imported(statement, name):
            self.take(importlib.import_module(statement.module), original)
            if name != original:
                self._add(name, f"{name} = {original}")
            return
        for used in _used(_bare(statement)):
            self.take(module, used)
        self._add(name, ast.unparse(_bare(statement)))

    def _add(self, name: str, line: str) -> None:
        known = self.meaning.setdefault(name, line)
        assert known == line, f"{name} means two things:\n{known}\n{line}"
        if line not in self.lines:
            self.lines.append(line)


@functools.cache
def _statements(module: ModuleType) -> dict[str, ast.stmt]:
    """What each name at the top of a module comes from."""
    tree = ast.parse(inspect.getsource(module))
    return {name: statement for statement in tree.body for name in _names(statement)}


def _imported(statement: ast.stmt, name: str) -> str | None:
    """What a name from another of our modules is called there."""
    if not (isinstance(statement, ast.ImportFrom) and statement.module.startswith("tutor_lib")):
        return None
    return next(a.name for a in statement.names if (a.asname or a.name) == name)


def _names(statement: ast.stmt) -> list[str]:
    """What a statement at the top of a module defines."""
    if isinstance(statement, Definition):
        return [statement.name]
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    ]


def _used(statement: ast.stmt) -> list[str]:
    return [node.id for node in ast.walk(statement) if isinstance(node, ast.Name)]


class _Undress(ast.NodeTransformer):
    """Without docstrings, annotations of functions, and the decorators of the checks."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        node.returns = None
        for argument in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            argument.annotation = None
        return self._undressed(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        return self._undressed(node)

    def _undressed(self, node: Any) -> Any:
        node.decorator_list = [
            d for d in node.decorator_list if getattr(d, "attr", "") != "misconception"
        ]
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        return self.generic_visit(node)


def _bare(statement: ast.stmt) -> ast.stmt:
    """A copy without what a student would not have typed."""
    copy = ast.parse(ast.unparse(statement)).body[0]
    return ast.fix_missing_locations(_Undress().visit(copy))
