"""Whose name is whose: read from the cells, before anything runs."""

import ast
import re
import symtable
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from IPython.core.inputtransformer2 import TransformerManager
from nbformat import NotebookNode
from nbgrader.utils import is_locked

# Cell magics whose cell is Python that runs among the others.
_PYTHON_MAGIC = re.compile(r"\s*%%(time|timeit|capture|prun)\b.*")
_MAGICS = {"run_line_magic", "run_cell_magic", "system", "getoutput"}


class Names(NamedTuple):
    """What the code of one cell binds, loads, and needs from elsewhere."""

    bound: frozenset[str]
    loaded: frozenset[str]
    needed: frozenset[str]
    imported: dict[str, frozenset[str]]  # what it imports under a name


def owned(notebook: NotebookNode) -> frozenset[str]:
    """The names that the student's cells bind, without those that locked cells bind too.

    Raises ValueError if a locked cell cannot be parsed, or needs a name that both a student's
    cell and another locked cell bind: the judge could not tell whose it is.
    """
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    locked = {_id(cell): _names_of(cell) for cell in cells if is_locked(cell)}
    theirs = {_id(cell): _names_of(cell) for cell in cells if not is_locked(cell)}
    for cell, names in locked.items():
        for name in sorted(names.needed):
            _check_whose(name, cell, locked, theirs)
    return _all_bound(theirs) - _all_bound(locked)


def lent(source: str, owned: Collection[str]) -> list[str]:
    """The owned names that a cell's code loads, also inside functions, sorted.

    Raises ValueError if the code cannot be parsed.
    """
    return sorted(names(source).loaded.intersection(owned))


def names(source: str) -> Names:
    """What a cell's code binds and loads. Raises ValueError if it cannot be parsed."""
    lines = source.splitlines()
    if lines and _PYTHON_MAGIC.fullmatch(lines[0]):
        source = "\n".join(["", *lines[1:]])
    try:
        code = TransformerManager().transform_cell(source)
        return _names(ast.parse(code))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the code cannot be parsed: {error}") from None


def _id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id", "(no id)")


def _names_of(cell: NotebookNode) -> Names:
    try:
        return names(cell.source)
    except ValueError as error:
        if is_locked(cell):
            raise ValueError(f"{_id(cell)}: {error}") from None
        return Names(frozenset(), frozenset(), frozenset(), {})  # it will bind nothing


def _all_bound(cells: dict[str, Names]) -> frozenset[str]:
    return frozenset().union(*(names.bound for names in cells.values()))


def _check_whose(name: str, cell: str, locked: dict[str, Names], theirs: dict[str, Names]) -> None:
    """Raise ValueError if the name could be the student's as well as another locked cell's."""
    ours, other = _binding(name, locked), _binding(name, theirs)
    if not ours or not other or _same_import(name, [*ours.values(), *other.values()]):
        return
    raise ValueError(
        f"the judge cannot tell whose {name} is, which {cell} uses: both {next(iter(ours))} "
        f"(locked) and {next(iter(other))} (the student's) bind it. Give one of them another name."
    )


def _binding(name: str, cells: dict[str, Names]) -> dict[str, Names]:
    return {cell: names for cell, names in cells.items() if name in names.bound}


def _same_import(name: str, cells: Iterable[Names]) -> bool:
    """Do all these cells bind the name by the one same import?"""
    sources = {cell.imported.get(name) for cell in cells}
    return len(sources) == 1 and None not in sources


def _names(tree: ast.Module) -> Names:
    bound: set[str] = set()
    loaded, needed, later = set[str](), set[str](), set[str]()
    for statement in tree.body:
        here, now, inside = _of_statement(statement)
        # What a compound statement binds, its own body may load: for t in …: print(t).
        before = bound | here if hasattr(statement, "body") else bound
        needed |= now - before
        loaded |= now | inside
        later |= inside
        bound |= here
    needed |= later - bound  # what is inside functions is looked up when they run
    everything = frozenset(loaded | _in_magics(tree))
    return Names(frozenset(bound), everything, frozenset(needed), _imports(tree))


def _of_statement(statement: ast.stmt) -> tuple[set[str], set[str], set[str]]:
    """The names that it binds, that it loads itself, and that functions in it load."""
    table = symtable.symtable(ast.unparse(statement), "cell", "exec")
    symbols = table.get_symbols()
    bound = {s.get_name() for s in symbols if s.is_assigned() or s.is_imported()}
    now = {s.get_name() for s in symbols if s.is_referenced()} | _changed(statement) & bound
    inside: set[str] = set()
    for nested in _nested(table):
        shared = [s for s in nested.get_symbols() if s.is_global()]
        inside |= {s.get_name() for s in shared if s.is_referenced()}
        bound |= {s.get_name() for s in shared if s.is_assigned() or s.is_imported()}
    return bound, now, inside


def _changed(statement: ast.stmt) -> set[str]:
    """The names in x += 1, which symtable does not count as loaded."""
    targets = [n.target for n in ast.walk(statement) if isinstance(n, ast.AugAssign)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def _nested(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _nested(child)


def _imports(tree: ast.Module) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            start = f"{node.module}:" if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                whole = alias.name if alias.asname or start else name
                found.setdefault(name, set()).add(start + whole)
    return {name: frozenset(sources) for name, sources in found.items()}


def _in_magics(tree: ast.Module) -> set[str]:
    """The words in the text of magics, such as f in `%timeit f(x)`: any could be a name."""
    words: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) in _MAGICS:
            texts = [a.value for a in node.args if isinstance(a, ast.Constant)]
            words.update(*(re.findall(r"\w+", text) for text in texts if isinstance(text, str)))
    return words
