"""What a student's side may do instead of answering: never a crash, a score or a secret."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch

from tutor_lib.grading.protocol import far, judge, session, wire
from tutor_lib.grading.protocol.judge import StudentGone, WireError
from tutor_lib.grading.protocol.link import HungUp, Link


def packed(kind, number, body) -> bytes:
    return b"".join(wire.pack(kind, number, body, far.Far.refer))


def raw(kind, number, node, sizes=()) -> bytes:
    text = json.dumps([kind, number, list(sizes), node]).encode()
    return wire.HEADER.pack(wire.MARK, len(text), sum(sizes)) + text + bytes(sum(sizes))


def found(number, node) -> bytes:
    """The answer that a name means this."""
    return raw("told", number, ["tuple", True, node])


def called(*parts) -> bytes:
    """The wish that the judge calls something."""
    return raw("call", 1, ["tuple", *parts])


@pytest.fixture
def hostile(link):
    """A student's side that answers the n-th question by what `script[n]` makes of its number."""
    threads = []

    def start(*script):
        def play():
            line = Link(link.theirs.fileno())
            try:
                for answer in script:
                    number = line.receive().number
                    line.busy = False
                    link.theirs.sendall(answer(number))
            except (HungUp, OSError):  # the judge has had enough
                return
            link.theirs.shutdown(socket.SHUT_RDWR)

        threads.append(threading.Thread(target=play))
        threads[0].start()

    yield start
    link.ours.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


NONSENSE = {
    "another id": lambda n: packed("told", n + 1, (True, 1)),
    "an id of nothing": lambda n: packed("told", -1, (True, 1)),
    "no frame": lambda n: b"HTTP/1.1 200 OK\r\n\r\n",
    "an enormous frame": lambda n: wire.HEADER.pack(wire.MARK, 10, 2**60),
    "an enormous text": lambda n: wire.HEADER.pack(wire.MARK, 2**32 - 1, 0),
    "half a frame": lambda n: packed("told", n, (True, 1))[:-3],
    "half a header": lambda n: wire.MARK,
    "nothing": lambda n: b"",
    "no JSON": lambda n: wire.HEADER.pack(wire.MARK, 3, 0) + b"{{{",
    "an unknown kind": lambda n: packed("tell", n, (True, 1)),
    "a number as kind": lambda n: raw(7, n, None),
    "a question": lambda n: packed("name", 1, "check"),
    "a call of no function": lambda n: packed("call", 1, (3, (), {})),
    "a call of a name": lambda n: called(["named", "os", "_exit"], ["tuple", 1], ["dict"]),
    "a call with bad keywords": lambda n: called(["yours", 1], ["tuple"], ["dict", 1, 2]),
    "a call with no list": lambda n: called(["yours", 1], 3, ["dict"]),
    "a name to resolve": lambda n: found(n, ["named", "os", "system"]),
    "a proxy of the wrong fields": lambda n: found(n, ["mine", "1", True, "f", None]),
    "a proxy of true": lambda n: found(n, ["mine", True, True, "f", None]),
    "a proxy of nothing": lambda n: found(n, ["mine"]),
    "a function by a bad handle": lambda n: found(n, ["yours", "x"]),
    "no answer to a name": lambda n: packed("told", n, 3),
    "a lie about its type": lambda n: packed("told", n, (1, 3)),
    "an error that is none": lambda n: packed("failed", n, "ValueError"),
    "an error without a type": lambda n: packed("failed", n, ([], "x", None)),
    "an error of numbers": lambda n: packed("failed", n, ([1], "x", None)),
    "an error at no place": lambda n: packed("failed", n, (["ValueError"], "x", (1, 2, 3))),
    "an error with no message": lambda n: packed("failed", n, (["ValueError"], None, None)),
    "deep nesting": lambda n: found(n, json.loads("[" * 300 + "]" * 300)),
    "very deep nesting": lambda n: wire.HEADER.pack(wire.MARK, 200_000, 0) + b"[" * 200_000,
    "too many things": lambda n: found(n, ["list", *[0] * 1_000_001]),
    "too many lists": lambda n: found(n, ["list", *[["list"]] * 1_000_001]),
    "two answers": lambda n: 2 * packed("told", n, (True, 1)),
}  # fmt: skip

UNFINISHED = {"half a frame", "half a header", "nothing"}  # then the other side hangs up


@pytest.mark.parametrize("name", NONSENSE)
def test_nonsense_ends_the_link_and_nothing_is_lent(hostile, name):
    sound = [lambda n: packed("told", n, (True, 1))]  # which is not asked for any more
    hostile(NONSENSE[name], *([] if name in UNFINISHED else sound))
    namespace = {"f": "an old one", "g": "another"}
    with pytest.raises((WireError, StudentGone)) as first:
        judge.lend(["f", "g"], namespace)
    assert str(first.value)
    assert "f" not in namespace
    assert "g" not in namespace
    with pytest.raises(StudentGone, match="does not answer"):  # and it stays dead
        judge.lend(["f"], namespace)
    judge.done(namespace)
    judge.done(namespace)
    assert "f" not in namespace


@pytest.mark.parametrize("beside", [-1, 1, 10**30])
def test_an_answer_to_another_question_is_not_passed_over(hostile, beside):
    hostile(lambda n: packed("told", n + beside, (True, 1)) + packed("told", n, (True, 2)))
    with pytest.raises(WireError, match="no open question"):
        judge.lend(["f"], {})


def test_interrupts_in_the_middle_of_a_frame_end_the_link_cleanly(hostile):
    """The last byte never comes. The first interrupt is held back, the second is not."""
    hostile(lambda n: packed("told", n, (True, 1))[:-1], lambda n: b"x")
    timers = [threading.Timer(wait, os.kill, (os.getpid(), signal.SIGINT)) for wait in (0.3, 0.6)]
    for timer in timers:
        timer.start()
    with pytest.raises(KeyboardInterrupt):
        judge.lend(["f"], {})
    for timer in timers:
        timer.join()
    with pytest.raises(StudentGone, match="does not answer"):
        judge.lend(["f"], {})
    judge.done({})


def test_endless_calls_back_are_cut_off(student, monkeypatch):
    monkeypatch.setattr(session, "CALLBACKS", 50)
    lent = student("""
        def nag(f):
            while True:
                f()
    """)
    calls = []
    with pytest.raises((WireError, StudentGone)):
        lent["nag"](lambda: calls.append(1))
    assert len(calls) == 50
    with pytest.raises(StudentGone):
        lent["nag"](lambda: None)


def test_calls_back_and_forth_without_end_are_an_error(student):
    lent = student("def bounce(f, n): return f(n + 1)")
    depths = []

    def back(n):
        depths.append(n)
        return lent["bounce"](back, n)

    with pytest.raises((RecursionError, WireError, StudentGone)):
        lent["bounce"](back, 0)
    assert len(depths) < 1000


def test_a_kept_function_of_the_judge_is_of_no_use_later(student):
    lent = student("""
        kept = []
        def keep(f): kept.append(f)
        def use(): return kept[0]()
    """)
    lent["keep"](lambda: "secret")
    assert lent["use"]() == "secret"
    session_of = lent["use"]._judge_knows.session
    session_of.forget()  # as done() does
    with pytest.raises(RuntimeError, match="is over"):
        lent["use"]()


LIAR = """
    import torch

    class Liar:
        heard = []
        def __init__(self, *args): pass
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return Liar()
        def __call__(self, *args, **kwargs):
            Liar.heard.append(args)
            return Liar()
        @property
        def __class__(self): return torch.Tensor
        def __eq__(self, other):
            Liar.heard.append(other)
            return True
        __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__
        def __hash__(self): return 0
        def __sub__(self, other):
            Liar.heard.append(other)
            return 0.0
        __add__ = __rsub__ = __radd__ = __mul__ = __matmul__ = __rmatmul__ = __sub__
        def __abs__(self): return 0.0
        def __float__(self): return 0.0
        def __contains__(self, x):
            Liar.heard.append(x)
            return True
        def __bool__(self): return True
        def __array__(self, *a, **k): return torch.zeros(3).numpy()
        def __torch_function__(self, *a, **k): return True

    class LyingFloat(float):
        __eq__ = __lt__ = __gt__ = lambda self, other: True
        __hash__ = float.__hash__

    class LyingTensor(torch.Tensor):
        __eq__ = lambda self, other: True

    class LyingList(list):
        __eq__ = lambda self, other: True

    def anything(*args): return Liar()
    def lying_float(*args): return LyingFloat(3)
    def lying_tensor(*args): return torch.zeros(3).as_subclass(LyingTensor)
    def lying_list(*args): return LyingList([7])
    def heard(): return [x for x in Liar.heard if isinstance(x, (float, torch.Tensor))]
    torch.allclose = torch.equal = lambda *a, **k: True
"""

SECRET = 3.14159
TESTS = [
    "assert answer == SECRET",
    "assert SECRET == answer",
    "assert not (answer != SECRET)",
    "assert abs(answer - SECRET) < 1e-6",
    "assert abs(SECRET - answer) < 1e-6",
    "assert answer <= SECRET",
    "assert SECRET in answer",
    "assert answer in (SECRET, 2)",
    "assert math.isclose(answer, SECRET)",
    "assert answer == right",
    "assert (answer == right).all()",
    "assert (right == answer).all()",
    "assert (answer - right).abs().max() < 1e-6",
    "assert (right - answer).abs().max() < 1e-6",
    "assert torch.equal(answer, right)",
    "assert torch.allclose(answer, right)",
    "assert answer.equal(right)",
    "assert answer.allclose(right)",
    "assert answer.eq(right).all()",
    "assert bool((answer @ right).isclose(SECRET))",
    "torch.testing.assert_close(answer, right)",
    "torch.testing.assert_close(answer, SECRET)",
    "np.testing.assert_allclose(answer, right.numpy())",
    "np.testing.assert_allclose(right.numpy(), answer)",
    "np.testing.assert_array_equal(answer, right.numpy())",
    "assert np.allclose(answer, right.numpy())",
    "assert (right.numpy() == answer).all()",
    "assert (right.numpy() - answer).max() == 0",
    "assert isinstance(answer, torch.Tensor)",
    "assert isinstance(answer, float)",
    "assert type(answer) is float",
    "assert answer == [SECRET]",
    "assert sorted([answer, SECRET])[0] == SECRET and answer < SECRET",
    "assert {SECRET: 1}[answer]",
    "assert answer is SECRET",
    "match answer:\n    case 3.14159: pass\n    case _: raise AssertionError",
]


@pytest.fixture
def patched_back():
    """The thread's student shares this process's torch; the real one does not."""
    before = torch.allclose, torch.equal
    yield
    torch.allclose, torch.equal = before


@pytest.mark.parametrize("liar", ["anything", "lying_float", "lying_tensor", "lying_list"])
def test_no_lie_passes_a_test_or_hears_what_is_expected(student, patched_back, liar):
    real = torch.allclose, torch.equal
    lent = student(LIAR)
    torch.allclose, torch.equal = real
    right = torch.tensor([1.0, 2.0, SECRET])
    for test in TESTS:
        answer = lent[liar](2)
        scope = dict(answer=answer, SECRET=SECRET, right=right, torch=torch, np=np,
                     math=__import__("math"))  # fmt: skip
        with pytest.raises((AssertionError, TypeError, AttributeError, ValueError, KeyError)):
            exec(test, scope)
    assert lent["heard"]() == []


def test_only_what_is_passed_on_is_sent(student, monkeypatch):
    """Every byte that the judge sends in a test is accounted for."""
    sent: list[bytes] = []
    send = Link.send

    def listening(self, parts):
        if threading.current_thread() is threading.main_thread():
            sent.append(b"".join(parts))
        return send(self, parts)

    lent = student("""
        def f(x, g=None): return g(x) if g else x
        class Box:
            def __init__(self, value): self.value = value
    """)
    monkeypatch.setattr(Link, "send", listening)
    hidden_expected_value = torch.full((64,), 0x41424344, dtype=torch.int32)
    hidden_text = "the hidden text"
    batch = torch.cat((torch.ones(2, dtype=torch.int32), hidden_expected_value))

    def hidden_function(x):
        return x if hidden_text else hidden_expected_value

    box = lent["Box"](batch[:2])
    assert torch.equal(lent["f"](batch[:2]), batch[:2])
    assert torch.equal(lent["f"](batch[:2], hidden_function), batch[:2])
    assert box != hidden_text
    assert not isinstance(hidden_text, lent["Box"])
    with pytest.raises(AssertionError):
        assert torch.equal(box.value, hidden_expected_value), hidden_text
    everything = b"".join(sent)
    for secret in (b"DCBA", b"hidden", b"hostile", b"SECRET", os.getcwd().encode()):
        assert secret not in everything
    bodies = [json.loads(frame[16 : 16 + wire.lengths(frame[:16])[0]]) for frame in sent]
    ones = [["int32", False, 2], [1, 0, 0, 0, 1, 0, 0, 0]]
    assert [body[0] for body in bodies] == ["call", "call", "call", "told", "call"]
    for frame, (_, _, sizes, node) in zip(sent, bodies, strict=True):
        blob = frame[len(frame) - sum(sizes) :]
        assert list(blob) == (ones[1] if sizes else [])
        assert set(_texts(node)) <= {"tuple", "list", "dict", "yours", "mine", "named", "tensor",
                                     "int32", "builtins", "getattr", "value"}  # fmt: skip


def _texts(node):
    if isinstance(node, str):
        yield node
    for part in node if isinstance(node, list) else ():
        yield from _texts(part)


OVERWRITTEN = [
    # The answer to every question is what the student likes, but it is only an answer.
    "far.Far.do = lambda self, frame: (True, True)",
    "far.Far._done = lambda self, frame: (True, True)",
    "far.Far.refer = lambda self, value: ['named', 'builtins', 'exec']",
    "far.Far.refer = lambda self, value: ['yours', 1]",
    "far.Far.refer = lambda self, value: ['mine', 1, False, 'x' * 10**6, 'y']",
    "far.one = far.following = lambda iterator: 'no list'",
    "wire.pack = lambda *a: [b'garbage' * 100]",
    "import json; json.dumps = lambda *a, **k: '[\"told\", 1, [], true]'",
    "far.Far.attend = lambda self: self.link.shut()",
    "far.Far.attend = lambda self: 1 / 0",
    "failures.told = lambda error: (['SystemExit', 'BaseException'], 'out')",
    "failures.told = lambda error: 1 / 0",
    "Link.send = lambda self, parts: self._socket.sendall(b'x' * 10**5)",
]


@pytest.mark.parametrize("change", OVERWRITTEN)
def test_who_overwrites_the_far_side_gains_nothing(process, link, change):
    process(f"""
from tutor_lib.grading.protocol import failures, wire
from tutor_lib.grading.protocol.link import Link
def f(x): return iter([x])
{change}
""")
    namespace: dict = {}

    def test_cell():
        judge.lend(["f"], namespace)
        assert list(namespace["f"](SECRET)) == [SECRET + 1]

    with pytest.raises((RuntimeError, TypeError, AttributeError, AssertionError, KeyError)):
        test_cell()
    judge.done(namespace)
    assert namespace == {}


def test_an_import_of_the_far_side_is_cheap():
    """It is imported in every student's kernel."""
    code = "import sys; from tutor_lib.grading.protocol import far; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"torch", "numpy", "IPython", "nbgrader", "asyncio", "multiprocessing"}
