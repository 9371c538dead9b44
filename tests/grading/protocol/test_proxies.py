"""The same test code on the student's own objects and on proxies of them: equal outcomes."""

import copy
import gc
import math
import operator
import pickle
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutor_lib.grading.protocol import far, judge
from tutor_lib.grading.protocol.proxy import StudentCallable, StudentObject
from tutor_lib.grading.protocol.session import _importable

STUDENT = '''
import collections, contextlib, math, torch
from torch import nn

def same(x):
    return x

def mean(x, dim=-1, *, keep=False):
    """The mean."""
    return x.mean(dim, keepdim=keep)

class TooFull(ValueError):
    """No room."""

class Cache:
    """Keeps tensors."""
    made = 0

    def __init__(self, room, dtype=torch.float32):
        self.room, self.dtype, self.kept = room, dtype, []
        self.length = 0

    def update(self, x):
        if self.length + len(x) > self.room:
            raise TooFull(f"no room for {len(x)}")
        self.kept.append(x.to(self.dtype))
        self.length += len(x)
        return torch.cat(self.kept)

    @property
    def full(self):
        return self.length == self.room

    @classmethod
    def large(cls):
        return cls(1000)

    def __len__(self):
        return self.length

    def __getitem__(self, i):
        return self.kept[i]

    def __setitem__(self, i, x):
        self.kept[i] = x

    def __delitem__(self, i):
        del self.kept[i]

    def __contains__(self, i):
        return 0 <= i < len(self.kept)

    def __iter__(self):
        return iter(self.kept)

    def __repr__(self):
        raise RuntimeError("never asked")

class Rolling(Cache):
    pass

class Value:
    """A number that can be added."""
    def __init__(self, data): self.data = data
    def __add__(self, other): return Value(self.data + other.data)
    def __mul__(self, other): return Value(self.data * other.data)
    def __neg__(self): return Value(-self.data)
    def __abs__(self): return abs(self.data)
    def __matmul__(self, other): return [self.data, other.data]

class Linear(nn.Module):
    def __init__(self, n, m):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(m, n))
    def forward(self, x): return x @ self.weight.T

def count(n):
    for i in range(n):
        yield i
    if n > 5:
        raise ValueError("that is enough")

def apply(f, *args): return f(*args)

def caught(f, *args):
    try:
        return f(*args)
    except ValueError as error:
        return f"caught {error}"

def fails(kind, *args): raise kind(*args)

def make_adder(n):
    return lambda x: x + n

@contextlib.contextmanager
def opened(log):
    yield collections.deque([log])

class Own(Exception):
    pass

def fails_oddly(): raise Own("odd")
words = collections.Counter("banana")
order = collections.OrderedDict(b=1, a=2)
table = collections.defaultdict(list, {1: [2]})
queue = collections.deque([1, 2, 3])
class Named(dict):
    pass
named = Named(a=1)
names = named.keys()
empty = Named()
half = torch.ones(3, dtype=torch.bfloat16)
number = 7
'''

CELLS = {
    "a call": "result = mean(torch.arange(6.0).view(2, 3), 0, keep=True)",
    "names": "result = mean.__name__, mean.__doc__, Cache.__doc__, Cache.__qualname__",
    "data": "result = number, half, words, order, table, queue",
    "callable": "result = [callable(x) for x in (mean, Cache, Cache(3), Linear(1, 2), number)]",
    "an instance": """
        cache = Cache(5)
        first = cache.update(torch.ones(2))
        second = cache.update(x=torch.zeros(3))
        result = first, second, cache.length, cache.full, len(cache), cache.room, cache.dtype
    """,
    "its attributes": """
        cache = Cache(5)
        cache.room = 9
        cache.note = "mine"
        note = cache.note
        del cache.note
        result = cache.room, note, hasattr(cache, "note"), getattr(cache, "other", 3), Cache.made
    """,
    "its items": """
        cache = Cache(5)
        cache.update(torch.ones(2))
        cache.update(torch.zeros(1))
        cache[0] = torch.full((2,), 7.0)
        seen = list(cache)
        del cache[1]
        result = seen, cache[0], [x.sum().item() for x in cache], bool(cache), bool(Cache(1))
    """,
    "a bound method": """
        update = Cache(5).update
        update(torch.ones(2))
        result = update(torch.ones(1)), update.__name__
    """,
    "a class method": "result = Cache.large().room",
    "isinstance": """
        cache, rolling = Cache(2), Rolling(3)
        result = [isinstance(x, kind) for x in (cache, rolling, 3, None, torch.ones(1))
                  for kind in (Cache, Rolling, (int, Cache))]
    """,
    "identity": """
        cache = Cache(2)
        result = same(cache) is cache, same(Cache) is Cache, cache == Cache(2), cache != 3
    """,
    "hash": """
        cache = Cache(2)
        result = len({cache, same(cache), Cache(2)}), {cache: 1}[same(cache)]
    """,
    "arithmetic": "a, b = Value(2), Value(3); result = (a + b * b).data, (-a).data, abs(-a), a @ b",
    "a module": """
        layer = Linear(3, 2)
        result = layer(torch.ones(1, 3)), layer.weight, dict(layer.named_parameters())
    """,
    "a generator": "result = list(count(4)), sum(count(3)), [*zip(count(9), range(2))]",
    "a generator's next": "g = count(3); result = next(g), next(g), list(g), next(g, 'end')",
    "a generator's send": "g = count(3); result = g.send(None), g.send(1), g.close(), list(g)",
    "a generator's error": "result = list(count(6))",
    "an iterator's end": "g = count(0); result = next(g)",
    "a closure": "result = make_adder(3)(4), [make_adder(i)(0) for i in range(3)]",
    "a callback": "result = apply(lambda x, y: x * y, torch.ones(2), 3)",
    "a callback that gets theirs": "result = apply(lambda c: c.update(torch.ones(2)), Cache(3))",
    "a callback's error": "result = caught(lambda: int('x')), caught(lambda: [][0])",
    "a callback that asks": "result = apply(lambda n: apply(lambda m: list(count(m)), n + 1), 2)",
    "a bound method as callback": "seen = []; apply(seen.append, 3); result = seen",
    "a library's function": """
        result = apply(torch.relu, torch.tensor([-1.0])), apply(math.sqrt, 9), apply(int, "3")
    """,
    "a library": "result = same(math).sqrt(9)",
    "their function to them": """
        result = apply(mean, torch.ones(3)), apply(Cache, 3).room, apply(make_adder(1), 1)
    """,
    "a function that comes back": "f = lambda: 3; result = same(f) is f, same(f)()",
    "a with block": "with opened(3) as inside:\n    result = list(inside)",
    "a subclass of dict": """
        result = named["a"], len(named), list(named), list(named.items()), named.get("b")
        result += sorted(names), bool(named), bool(empty)
    """,
    "ValueError": "result = fails(ValueError, 'why')",
    "KeyError": "result = fails(KeyError, 'key')",
    "IndexError": "result = Cache(2)[5]",
    "StopIteration": "result = fails(StopIteration, 3)",
    "OSError": "result = fails(FileNotFoundError, 2, 'gone')",
    "a built-in type's method": "result = apply(str.upper, 'a'), apply(torch.Tensor.abs, half)",
    "UnicodeError": """
        try:
            apply(bytes.decode, b"\\xff")
        except UnicodeError as error:
            result = str(error)
    """,
    "an error of no message": "result = fails(NotImplementedError)",
    "torch's error": "result = mean(torch.ones(2, 3), 7)",
    "TypeError: arguments": "result = mean()",
    "TypeError: not callable": "result = Cache(2)()",
    "TypeError: no iterator": "result = next(Cache(2))",
    "TypeError: no length": "result = len(Value(3))",
    "AttributeError": "result = Cache(2).nothing",
    "a class of their own": """
        try:
            Cache(1).update(torch.ones(2))
        except ValueError as error:
            result = str(error)
    """,
    "pytest": """
        with pytest.raises(ValueError, match="no room"):
            Cache(1).update(torch.ones(2))
        result = 1
    """,
    "NameError": "result = nothing_of_theirs",
}  # fmt: skip


def outcome_of(namespace: dict, code: str):
    scope = dict(namespace) | {"torch": torch, "math": math, "pytest": pytest}
    try:
        exec(compile(textwrap.dedent(code), "a test cell", "exec"), scope)
    except Exception as error:
        return type(error), str(error)
    return "result", scope["result"]


def alike(a, b) -> bool:
    if isinstance(a, torch.Tensor):
        same = isinstance(b, torch.Tensor) and a.dtype == b.dtype and a.shape == b.shape
        return same and a.requires_grad == b.requires_grad and torch.equal(a, b)
    if isinstance(a, tuple | list):
        same = isinstance(b, type(a)) and len(a) == len(b)
        return same and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, dict):
        return type(a) is type(b) and alike([*a.items()], [*b.items()])
    return type(a) is type(b) and a == b


# Python's own words for these name the type, which is the proxy's.
ITS_TYPE_IS_NAMED = {"TypeError: not callable"}


@pytest.fixture
def both(student):
    local: dict = {"__name__": "students"}
    exec(compile(STUDENT, "a student's cell", "exec"), local)
    return local, student(STUDENT)


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_comes_out_the_same(both, name):
    local, borrowed = both
    expected, got = outcome_of(local, CELLS[name]), outcome_of(borrowed, CELLS[name])
    if name in ITS_TYPE_IS_NAMED:
        expected, got = expected[0], got[0]
    if name == "data":  # a defaultdict's factory stays behind
        expected[1][4].default_factory = None
        expected = "result", (*expected[1][:4], dict(expected[1][4]), expected[1][5])
    assert alike(expected, got), (expected, got)


def test_what_callable_says_is_true_of_the_type(student):
    lent = student(STUDENT)
    assert type(lent["mean"]) is StudentCallable
    assert type(lent["Cache"](3)) is StudentObject


def test_an_error_tells_its_type_and_place(student):
    lent = student(STUDENT)
    with pytest.raises(ValueError, match="no room") as caught:
        lent["Cache"](1).update(torch.ones(2))
    assert caught.value.student_type == "TooFull"
    name, line, _ = caught.value.place
    expected = next(i for i, text in enumerate(STUDENT.splitlines(), 1) if "raise TooFull" in text)
    assert (name, line) == ("update", expected)
    with pytest.raises(Exception, match="odd") as caught:
        lent["fails_oddly"]()
    assert type(caught.value) is Exception
    assert caught.value.student_type == "Own"


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_what_would_end_a_program_is_a_runtime_error(student, kind):
    lent = student(STUDENT)
    with pytest.raises(RuntimeError, match=f"{kind.__name__}: stop") as caught:
        lent["fails"](kind, "stop")
    assert caught.value.student_type == kind.__name__
    assert lent["same"](3) == 3


def test_an_error_in_a_with_block_goes_on(student):
    lent = student("""
        class Swallows:
            seen = "nothing"
            def __enter__(self): return self
            def __exit__(self, kind, error, place):
                Swallows.seen = kind and (kind.__name__, str(error))
                return True
        class Replaces(Swallows):
            def __exit__(self, *about): raise ValueError("another")
    """)
    with pytest.raises(AssertionError, match="the secret"), lent["Swallows"]():
        raise AssertionError("the secret")
    assert lent["Swallows"].seen == ("AssertionError", "")
    with pytest.raises(AssertionError, match="the secret"), lent["Replaces"]():
        raise AssertionError("the secret")
    with pytest.raises(ValueError, match="another"), lent["Replaces"]():
        pass


def test_what_is_shown_is_the_judges_to_say(student):
    lent = student("""
        class Sneaky:
            def __repr__(self): return "<b>right</b>"
            def _repr_html_(self): return "<script>"
            def _ipython_display_(self): raise SystemExit
        Sneaky.__name__ = "a\\x1b[31m" * 100
    """)
    assert not hasattr(lent["Sneaky"](), "_repr_html_")
    assert not hasattr(lent["Sneaky"](), "_ipython_display_")
    shown = repr(lent["Sneaky"]())
    assert "of the student's" in shown
    assert "\x1b" not in shown
    assert len(shown) < 150


def test_beside_runs_a_function_on_the_objects_themselves(student):
    lent = student(STUDENT)
    layer = lent["Linear"](3, 2)
    assert layer.__beside__(isinstance)(layer, torch.nn.Module) is True
    init = type(layer).__beside__(layer, torch.nn.init.zeros_)
    init(layer.__beside__(operator.attrgetter)("weight")(layer))  # the parameter, not a copy
    init(layer.__beside__(getattr)(layer, "weight"))
    value = lent["Value"](3)
    assert value.__beside__(operator.add)(value, value).data == 6
    with pytest.raises(judge.CannotCarry, match="cannot be imported"):
        layer.__beside__(lambda x: x)


@pytest.mark.parametrize(
    "value",
    [torch.nn.Linear(2, 2), object(), torch.Generator(), torch.eye(3).to_sparse(), np.array([{}]),
     type("Local", (), {}), type("Int", (int,), {})(3), np.zeros(2, dtype="i4,f4")],
    ids=lambda v: type(v).__name__,
)  # fmt: skip
def test_what_cannot_be_carried_is_named_and_does_no_harm(student, value):
    lent = student(STUDENT)
    with pytest.raises(judge.CannotCarry, match=f"a {type(value).__name__} cannot be carried"):
        lent["same"]([1, value])
    assert lent["same"](3) == 3


def test_a_proxy_cannot_be_copied_or_inherited_from(student):
    lent = student(STUDENT)
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be copied"):
            attempt(lent["Cache"])
    with pytest.raises(TypeError, match="no class of a test"):

        class Mine(lent["Cache"]):
            pass


def test_handles_are_given_back(student, monkeypatch):
    lent = student("""
        import weakref
        alive = weakref.WeakSet()
        class Thing: pass
        def make():
            thing = Thing()
            alive.add(thing)
            return thing
        def count(): return len(alive)
        def again(thing): return thing
    """)
    kept = lent["make"]()
    others = [lent["make"]() for _ in range(5)]
    assert lent["count"]() == 6
    assert all(lent["again"](thing) is thing for thing in others)
    del others
    gc.collect()
    assert lent["count"]() == 1
    assert lent["again"](kept) is kept


def test_iteration_ends_somewhere(student, monkeypatch):
    lent = student("""
        import itertools, collections
        class Endless(list):
            def __iter__(self): return self
            def __next__(self): return 1
        endless, long = itertools.count(), collections.deque(range(200))
        forever = Endless()
        class Kept(list): pass
        kept = Kept(range(200))
    """)
    monkeypatch.setattr("tutor_lib.grading.protocol.proxy.MAX_ITEMS", 150)
    for name in ("endless", "forever", "kept"):
        with pytest.raises(judge.WireError, match="more than 150 items"):
            list(lent[name])


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20),
    st.binary(max_size=9), st.complex_numbers(), st.just(...),
    st.integers().map(lambda n: n << 900),
)  # fmt: skip
KEYS = st.one_of(st.integers(), st.text(max_size=5), st.tuples(st.integers(), st.text(max_size=2)))
DATA = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.sets(KEYS, max_size=3),
        st.frozensets(KEYS, max_size=3),
        st.builds(slice, st.integers(), inner, st.none()),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=DATA)
def test_nested_data_go_there_and_back(request, data):
    lent = request.getfixturevalue("the_same_again")
    got = lent["same"](data)
    assert is_same(got, data)


def is_same(a, b) -> bool:
    """Equal in types and values, NaN for NaN; sets have no order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, set | frozenset):
        return a == b
    if isinstance(a, slice):
        return is_same([a.start, a.stop, a.step], [b.start, b.stop, b.step])
    if isinstance(a, dict):
        return is_same([*a.items()], [*b.items()])
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(is_same, a, b))
    return repr(a) == repr(b)


@pytest.fixture
def the_same_again(student):
    return student("def same(x): return x")


def test_the_names_that_the_judge_calls_there_can_be_imported():
    """Else they would go as functions of the judge's, and be called here."""
    functions = [far.itself, far.following, far.one, far.entered, far.left, getattr, operator.add]
    assert all(map(_importable, functions))


def test_what_is_the_judges_own_is_not_looked_up_there(monkeypatch):
    """The student's __main__ is another: a function of the same name there is not the judge's."""
    main = sys.modules["__main__"]
    function = eval("lambda: 3", {"__name__": "__main__"})
    function.__qualname__ = "helper"
    monkeypatch.setattr(main, "helper", function, raising=False)
    assert main.helper.__module__ == "__main__"
    assert _importable(function) is None
    assert _importable(main) is None


def test_only_the_thread_that_serves_calls_back(student):
    lent = student("""
        import threading
        def elsewhere(f):
            seen = []
            def call():
                try:
                    f()
                except RuntimeError as error:
                    seen.append(str(error))
            thread = threading.Thread(target=call)
            thread.start()
            thread.join()
            return seen
    """)
    (told,) = lent["elsewhere"](lambda: 3)
    assert "only be called from the main thread" in told
    assert lent["elsewhere"](list) == []
