"""Whose name is whose, on small notebooks and on the labs."""

import ast
import builtins
import dis
import symtable
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from nbgrader.utils import is_locked

from tutor_lib.grading.build import read_source
from tutor_lib.grading.intake.canon import labs_of
from tutor_lib.grading.protocol.names import lent, owned

ROOT = Path(__file__).resolve().parents[3]


def cell(source, grade_id=None, kind=None):
    """A cell of a kind: setup, test, solution, or one without nbgrader's metadata."""
    made = new_code_cell(source)
    if kind:
        made.metadata.nbgrader = dict(
            grade_id=grade_id, grade=kind == "test", solution=kind == "solution",
            locked=kind != "solution", schema_version=3, task=False, points=1,
        )  # fmt: skip
    return made


def notebook(*cells):
    return new_notebook(cells=[new_markdown_cell("x = 1"), *cells])


BINDINGS = [
    ("def f(a): b = a", "f"), ("async def f(): pass", "f"), ("class C(D):\n    x = 1", "C"),
    ("a = 1", "a"), ("a, (b, *c) = d", "a b c"), ("a: int = 1", "a"), ("a += 1", "a"),
    ("a.b = 1; c[0] = 2", ""), ("import a.b.c", "a"), ("import a.b as c", "c"),
    ("from a import b, c as d", "b d"), ("for i, j in k: l = i", "i j l"),
    ("while x: y = 1", "y"), ("with a as b, c as (d, e): f = 1", "b d e f"),
    ("if a: b = 1\nelse: c = 2", "b c"),
    ("try: a = 1\nexcept E as e: b = 2\nfinally: c = 3", "a b c e"),
    ("if (a := 1): pass", "a"), ("[a := b for b in c]", "a"), ("[a for a in b]", ""),
    ("lambda a: a", ""), ("def f():\n    global g\n    g = 1", "f g"),
    ("match a:\n    case {'k': b, **c}: pass\n    case [d, *e]: pass\n    case F(x=f) as g: pass",
     "b c d e f g"),
    ("%matplotlib inline\na = 1", "a"), ("!ls\na = !ls", "a"), ("a = %time 3", "a"), ("f?", ""),
    ("%%time\na = 1", "a"), ("%%capture out\na = 1", "a"), ("%%bash\na=1", ""), ("", ""),
    ("# nothing", ""), ("def f(:", ""), ("await a\nb = 1", "b"), ("\0", ""),
]  # fmt: skip


@pytest.mark.parametrize(("source", "names"), BINDINGS, ids=[repr(s)[:40] for s, _ in BINDINGS])
def test_what_a_cell_of_the_students_binds_is_the_students(source, names):
    assert owned(notebook(cell(source))) == {*names.split()}
    assert owned(notebook(cell(source, "s", "solution"))) == {*names.split()}


def test_what_a_locked_cell_binds_is_not():
    made = notebook(
        cell("import torch\nN = 3", "setup", "setup"),
        cell("import torch\ndef f(x): return x\nmine = N", "f", "solution"),
        cell("x, y = 1, 2"),
        cell("y = f(3)\nassert y == x", "test", "test"),
    )
    assert owned(made) == {"f", "mine", "x"}


UNCLEAR = [
    # The test uses w, which the set-up and the student bind.
    ("w = 1", "w = 2", "assert w"),
    ("w = 1", "w = 2", "def check():\n    return w\ncheck()"),
    ("w = 1", "w = 2", "w = w + 1"),
    ("w = 1", "w = 2", "w += 1"),
    ("w = 1", "w = 2", "assert [w for _ in range(3)]"),
    ("w = 1", "w = 2", "print(w)\nw = 3"),
    ("for w in (1, 2): pass", "for w in (3, 4): pass", "assert w"),
    ("import numpy as w", "import torch as w", "w.ones(1)"),
    ("import numpy as w", "w = 3", "w.ones(1)"),
    ("from a import w", "from b import w", "w()"),
]


@pytest.mark.parametrize(("setup", "theirs", "test"), UNCLEAR)
def test_a_name_that_could_be_either_ones_is_refused(setup, theirs, test):
    made = notebook(
        cell(setup, "the_setup", "setup"),
        cell(theirs, "the_answer", "solution"),
        cell(test, "the_test", "test"),
    )
    with pytest.raises(ValueError, match="cannot tell whose w is") as error:
        owned(made)
    for grade_id in ("the_setup", "the_answer", "the_test"):
        assert grade_id in str(error.value)


CLEAR = [
    # The test binds w itself before it uses it, or both mean the same.
    ("w = 1", "w = 2", "w = 3\nassert w"),
    ("w = 1", "w = 2", "for w in (1, 2): print(w)"),
    ("w = 1", "w = 2", "with open('f') as w: w.read()"),
    ("w = 1", "w = 2", "def w(): return w\nw()"),
    ("w = 1", "w = 2", "def check():\n    return w\nw = 3\ncheck()"),
    ("w = 1", "w = 2", "assert [w for w in range(3)]"),
    ("w = 1", "w = 2", "x.w = 3"),
    ("import w.a", "import w.b", "w.c"),
    ("import numpy as w", "import numpy as w", "w.ones(1)"),
    ("from a import w", "from a import w", "w()"),
]


@pytest.mark.parametrize(("setup", "theirs", "test"), CLEAR)
def test_a_harmless_name_in_both_is_the_judges(setup, theirs, test):
    made = notebook(
        cell(setup, "setup", "setup"), cell(theirs, "s", "solution"), cell(test, "t", "test")
    )
    assert owned(made) == frozenset()


def test_a_locked_cell_that_cannot_be_parsed_is_named():
    with pytest.raises(ValueError, match="the_test: the code cannot be parsed"):
        owned(notebook(cell("assert (", "the_test", "test")))
    with pytest.raises(ValueError, match="cannot be parsed"):
        lent("assert (", {"f"})


LOADS = [
    ("f(1)", "f"), ("x.f", ""), ("f.x", "f"), ("def t():\n    return f", "f"), ("lambda: f", "f"),
    ("def t(f): return f", ""), ("[f for f in g]", "g"), ("[f(x) for x in g if h]", "f g h"),
    ("class T(f):\n    y = g\n    def z(self): return h", "f g h"), ("f'{f}'", "f"), ("'f'", ""),
    ("@f\ndef t(x: g = h): pass", "f g h"), ("f = 3\nf", "f"), ("f = 3", ""),
    ("f += 1", "f"), ("def t():\n    f = 0\n    f += 1", ""), ("del f", ""),
    ("%timeit f(g)", "f g"), ("%%time\nf(1)", "f"), ("!echo {f}", "f"), ("# f", ""),
    ("def t():\n    def u():\n        return [f for _ in g]", "f g"),
    ("zeta(f, alpha)", "alpha f zeta"),
    ("with f() as x, g: pass", "f g"), ("try: pass\nexcept f: pass", "f"), ("f[g] = h", "f g h"),
    ("isinstance(x, f)", "f"), ("check('f', f)", "f"), ("match g:\n    case f(): pass", "f g"),
]  # fmt: skip
OWNED = {"f", "g", "h", "alpha", "zeta"}


@pytest.mark.parametrize(("source", "names"), LOADS, ids=[repr(s)[:40] for s, _ in LOADS])
def test_what_a_test_cell_borrows(source, names):
    assert lent(source, OWNED) == names.split()


@pytest.mark.parametrize("lab", labs_of(ROOT))
def test_the_labs_are_clear_and_each_test_borrows_its_answer(lab):
    """The oracle is the compiler: what is looked up as a global, and bound nowhere before."""
    made = read_source(ROOT / "solutions" / lab / f"{lab}.md")
    theirs = owned(made)
    judges = set(dir(builtins))
    tests = 0
    for one in made.cells:
        if one.cell_type != "code" or not is_locked(one):
            continue
        borrowed = lent(one.source, theirs)
        if one.metadata.nbgrader.grade:
            tests += 1
            answer = one.metadata.nbgrader.grade_id.removesuffix("_check")
            assert any(answer.startswith(name) for name in borrowed), (answer, borrowed)
        globals_ = _globals(compile(one.source, "cell", "exec"))
        bound = {s.get_name() for s in _top(one.source) if s.is_assigned() or s.is_imported()}
        assert globals_ - bound - judges == {*borrowed} - bound
        judges |= bound
    assert tests > 8


def _top(source):
    return symtable.symtable(source, "cell", "exec").get_symbols()


def _globals(code) -> set[str]:
    """The names that a code object and those inside it load from the module's namespace."""
    loads = {"LOAD_NAME", "LOAD_GLOBAL"}
    found = {step.argval for step in dis.get_instructions(code) if step.opname in loads}
    return found.union(*(_globals(c) for c in code.co_consts if hasattr(c, "co_code")))


def test_the_labs_answers_are_all_owned():
    for lab in labs_of(ROOT):
        made = read_source(ROOT / "solutions" / lab / f"{lab}.md")
        theirs = owned(made)
        answers = [c for c in made.cells if c.metadata.get("nbgrader", {}).get("solution")]
        for one in answers:
            if one.cell_type == "code":
                (name,) = (n.name for n in ast.parse(one.source).body if hasattr(n, "name"))
                assert name in theirs
