"""The directive `{api} attention`: the reference of one package, from its docstrings.

The modules are read, not imported. Each public function and class comes with its signature, which
holds the shapes, and its docstring; a class with its methods.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

LIBRARY = Path(__file__).parents[1]
Definition = ast.FunctionDef | ast.ClassDef


class Api(SphinxDirective):
    """Put the reference of one package where the directive stands."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The package's sections."""
        folder = LIBRARY / self.arguments[0]
        if not folder.is_dir():
            raise self.error(f"tutor_lib has no package {self.arguments[0]!r}")
        modules = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
        for path in modules:
            self.env.note_dependency(str(path))
        text = "\n".join(line for path in modules for line in page(path))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def page(module: Path) -> Iterator[str]:
    """A module's reference as lines of MyST; nothing if it has nothing public."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    public = [node for node in tree.body if isinstance(node, Definition) and _is_public(node)]
    if not public:
        return
    name = f"{module.parent.name}.{module.stem}"
    yield from (f"(api-{name})=", f"### `{module.stem}`", "", _told(tree), "")
    for node in public:
        yield from (f"#### `{node.name}`", "")
        signature = "\n".join(_signature(node)).replace("'", '"')
        yield from ("```python", signature, "```", "", _told(node), "")


def _is_public(node: Definition) -> bool:
    return not node.name.startswith("_") and bool(_told(node))


def _told(node: Any) -> str:
    return ast.get_docstring(node) or ""


def _signature(node: Any) -> Iterator[str]:
    """The head of a function; of a class also its fields, and the heads of its methods."""
    if isinstance(node, ast.FunctionDef):
        yield from _head(node).splitlines()
        return
    bases = ", ".join(map(ast.unparse, node.bases))
    yield f"class {node.name}({bases}):" if bases else f"class {node.name}:"
    for member in node.body:
        if isinstance(member, ast.AnnAssign):
            yield f"    {ast.unparse(member)}"
        elif isinstance(member, ast.FunctionDef) and _is_shown(member):
            yield from (f"    {line}" for line in _head(member).splitlines())


def _is_shown(method: ast.FunctionDef) -> bool:
    return method.name == "__init__" or not method.name.startswith("_")


def _head(function: ast.FunctionDef) -> str:
    """`def name(…) -> …`, an argument a line where one line would be long."""
    arguments = ast.unparse(function.args)
    result = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    head = f"def {function.name}({arguments}){result}"
    if len(head) <= 78:
        return head
    broken = ",\n    ".join(_arguments(function.args))
    return f"def {function.name}(\n    {broken},\n){result}"


def _arguments(arguments: ast.arguments) -> Iterator[str]:
    """Each argument, with its annotation and default, as it stands in the signature."""
    plain = [*arguments.posonlyargs, *arguments.args]
    without = [None] * (len(plain) - len(arguments.defaults))
    for place, argument in enumerate(plain, start=1):
        yield _with_default(argument, [*without, *arguments.defaults][place - 1])
        if place == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg:
        yield f"*{ast.unparse(arguments.vararg)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _with_default(argument, default)
    if arguments.kwarg:
        yield f"**{ast.unparse(arguments.kwarg)}"


def _with_default(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")


def setup(app: Sphinx) -> None:
    """Register the directive."""
    app.add_directive("api", Api)
