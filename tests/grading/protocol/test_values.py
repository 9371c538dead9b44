"""What is carried arrives; what is malformed is refused with one kind of error."""

import collections
import json
import math
import random
import sys
import tracemalloc
import warnings

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tutor_lib.grading.protocol import wire
from tutor_lib.grading.protocol.values import WireError


class NoData(Exception):
    pass


def refuse(value):
    raise NoData(type(value).__name__)


def packed(value) -> tuple[bytes, bytes]:
    header, text, *buffers = wire.pack("told", 1, value, refuse)
    blob = b"".join(buffers)
    assert wire.lengths(header) == (len(text), len(blob))
    return bytes(text), blob


def unpacked(text: bytes, blob: bytes):
    def find(node):
        raise WireError("no references here")

    return wire.unpack(wire.opened(bytearray(text), bytearray(blob)), find)


def carried(value):
    return unpacked(*packed(value))


Pair = collections.namedtuple("Pair", "a b")

AS_THEY_ARE = [
    None, True, False, 0, -1, 2**63 - 1, 2**63, -(2**63) - 1, 1 << 10_000, 0.1, -0.0, math.inf,
    -math.inf, 5e-324, 1j, complex(-0.0, math.inf), "", "ä\0\n\"\\", "\ud800", "\ud800\udc00",
    "x" * 1001, "\ud800" * 1001, b"", b"\0\xff", [], [[]], (), ((), []), set(), {1, "a"},
    frozenset({(1, 2)}), {}, {(1, 2): [3], None: {}, 1.5: b"k"}, slice(None), slice(1, [2], -1),
    range(10**20, 0, -3), ..., collections.deque([1, [2]]), collections.Counter("abca"),
    collections.OrderedDict(b=1, a=2),
]  # fmt: skip


@pytest.mark.parametrize("value", AS_THEY_ARE, ids=lambda v: type(v).__name__)
def test_plain_data_arrive_as_they_are(value):
    got = carried(value)
    assert type(got) is type(value)
    assert repr(got) == repr(value)


def test_a_very_long_int_arrives():
    assert carried(1 << 60_000) == 1 << 60_000  # Python refuses to show it


def test_nan_arrives():
    assert math.isnan(carried(math.nan))
    assert math.isnan(carried(complex(1, math.nan)).imag)


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (torch.Size((2, 3)), (2, 3)),
        (Pair(1, [2]), (1, [2])),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}),
        (torch.tensor([1, 3]).max(0), (torch.tensor(3), torch.tensor(1))),
    ],
    ids=["torch.Size", "namedtuple", "defaultdict", "torch.return_types.max"],
)
def test_what_arrives_as_something_plainer(value, arrives):
    got = carried(value)
    assert type(got) is type(arrives)
    assert got == arrives


SUBCLASSES = [
    type("Mine", (kind,), {"__eq__": lambda a, b: True, "__hash__": lambda a: 0})
    for kind in (int, float, complex, str, bytes, list, tuple, set, frozenset, dict)
]


@pytest.mark.parametrize("kind", SUBCLASSES, ids=lambda k: k.__base__.__name__)
def test_a_subclass_is_no_data(kind):
    with pytest.raises(NoData):
        packed([kind()])


def things() -> list:
    """Of most of them, numbers could be had; but not all that they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are old, some are new
        return [
            lambda: 0, object(), int, torch, torch.nn.Linear(1, 1), torch.eye(2).to_sparse(),
            iter([]), memoryview(b"a"), np.array([None]), np.zeros(1, "i4,f4"), np.ma.zeros(2),
            np.matrix([[1]]), torch.nested.nested_tensor([torch.ones(1)], layout=torch.strided),
            torch.quantize_per_tensor(torch.ones(1), 1.0, 0, torch.quint8),
            torch.ones(1).as_subclass(type("Mine", (torch.Tensor,), {})),
        ]  # fmt: skip


@pytest.mark.parametrize("value", things(), ids=lambda v: type(v).__name__)
def test_what_is_no_data(value):
    with pytest.raises(NoData):
        packed({"a": value})


DTYPES = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16,
          torch.uint32, torch.uint64, torch.float16, torch.bfloat16, torch.float32, torch.float64,
          torch.complex32, torch.complex64, torch.complex128, torch.float8_e4m3fn,
          torch.float8_e5m2]  # fmt: skip


def bits(tensor):
    return tensor.clone(memory_format=torch.contiguous_format).flatten().view(torch.uint8).tolist()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.filterwarnings("ignore:ComplexHalf")
def test_tensors_of_every_dtype(dtype):
    raw = torch.arange(6 * dtype.itemsize, dtype=torch.uint8)
    grid = (raw % 2).bool() if dtype is torch.bool else raw.view(dtype)
    grid = grid.reshape(2, 3)
    # An odd number of bytes in front: the tensor's own are not aligned in the frame.
    expanded = grid.expand(4, 2, 3), grid[0, 0].expand(1)
    for tensor in (grid, grid.T, grid[:, 1:], grid[0, 0], grid[:0], *expanded):
        _, got = carried((b"odd", tensor))
        assert (got.dtype, got.shape, got.device) == (tensor.dtype, tensor.shape, tensor.device)
        assert bits(got) == bits(tensor)
    meta = carried(grid.to("meta"))
    assert (meta.is_meta, meta.dtype, meta.shape) == (True, dtype, (2, 3))


def test_views_arrive_as_what_they_show():
    z = torch.tensor([1 + 2j, 3 - 4j])
    for view in (z.conj(), z.conj().imag, z.imag, z.real, z.view(2, 1).mH):
        assert torch.equal(carried(view), view.resolve_conj().resolve_neg())


def test_a_gradient_is_asked_for_or_not():
    weight = torch.nn.Parameter(torch.ones(2))
    result = weight * 2
    for tensor, asks in [(weight, True), (result, True), (result.detach(), False)]:
        got = carried(tensor)
        assert type(got) is torch.Tensor
        assert got.requires_grad is asks
        assert got.is_leaf
    with torch.no_grad():
        assert carried(weight).requires_grad


def test_only_what_a_view_shows_is_sent():
    whole = torch.full((1000,), 77, dtype=torch.uint8)
    text, blob = packed((whole[3:5], whole.numpy()[3:5]))
    assert len(blob) == 4
    assert len(text) < 100


def test_what_arrives_is_nobody_elses_memory():
    text, blob = packed((torch.ones(3), np.ones(3)))
    blob = bytearray(blob)
    tensor, array = wire.unpack(wire.opened(text, blob), refuse)
    blob[:] = bytes(len(blob))
    tensor += 1
    array += 1
    assert tensor.tolist() == array.tolist() == [2, 2, 2]


ARRAYS = [
    np.zeros((2, 0, 3)), np.array(3), np.arange(6).reshape(2, 3).T, np.arange(6)[::-2],
    np.array([1, 2], ">i2"), np.array(["a", "bcd\U0010ffff"]), np.array([b"x", b"yz"]),
    np.array(["2020-01-01", "NaT"], "M8[ns]"), np.array([3], "m8[h]"), np.array([True, False]),
    np.array([1 + 2j]), np.array([1.5], np.float16), np.array([1.5], np.longdouble),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype} {a.shape}")
def test_arrays(array):
    got = carried(array)
    assert type(got) is np.ndarray
    assert (got.dtype, got.shape, got.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert got.flags.writeable


@pytest.mark.parametrize(
    "scalar",
    [np.float64(0.1), np.int8(-3), np.bool_(True), np.str_("ä"), np.complex64(1j)],
    ids=repr,
)
def test_numpy_scalars_and_names_of_dtypes(scalar):
    got = carried(scalar)
    assert type(got) is type(scalar)
    assert got == scalar
    assert carried(scalar.dtype) == scalar.dtype
    for name in (torch.bfloat16, torch.device("cuda:1"), torch.device("cpu"), torch.device("meta")):
        assert carried(name) == name


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (ValueError("why"), ValueError, "why"),
        (KeyError("k"), KeyError, "'k'"),
        (type("Own", (IndexError,), {})("i"), IndexError, "i"),
        (SystemExit(3), RuntimeError, "SystemExit: 3"),
        (type("Odd", (KeyboardInterrupt,), {})("x"), RuntimeError, "Odd: x"),
        (UnicodeDecodeError("utf-8", b"a", 0, 1, "r"), UnicodeError, "'utf-8' codec"),
        (
            type("Lies", (ValueError,), {"__str__": lambda s: 1 / 0})(1, 2),
            ValueError,
            "(no message",
        ),
        (ValueError("x" * 10**6), ValueError, "x" * 4000),
    ],
)
def test_errors_arrive_as_the_nearest_of_pythons_own(error, kind, message):
    got = carried(error)
    assert type(got) is kind
    assert str(got).startswith(message)
    assert len(str(got)) < 4100


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


CIRCLE: list = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (CIRCLE, "in a circle"),
        (nested(102), "deeper than 100"),
        (nested(100_000), "deeper than 100"),
        ([0] * 1_000_001, "1,000,000 things"),
        (1 << 70_000, "70,001 bits"),
        (torch.zeros(1).expand(10**12), "268,435,456 bytes"),
        (np.broadcast_to(np.zeros(1), 10**12), "268,435,456 bytes"),
        ([torch.zeros(1).expand(10**7)] * 7, "268,435,456 bytes"),
        (["x" * 999] * 30_000, "bytes of JSON"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_limits_hold_for_what_is_sent(value, why):
    with pytest.raises(WireError, match=why):
        packed(value)


def test_what_is_just_within_the_limits_goes():
    assert carried(nested(99)) == nested(99)
    assert len(carried([0] * 999_000)) == 999_000


def frame(body, sizes=(), kind="told", number=1) -> bytes:
    return json.dumps([kind, number, list(sizes), body]).encode()


MALFORMED = [
    frame({}), frame([]), frame([1]), frame([None, 1]), frame(["nothing"]), frame(["list", {}]),
    frame(["dict", 1]), frame(["dict", ["list"], 1]), frame(["set", ["list"]]), frame(["int"]),
    frame(["int", 3]), frame(["int", "zz"]), frame(["int", "0x" + "f" * 10**6]),
    frame(["range", 1, 2]), frame(["range", 1, 2, 0]), frame(["range", 1.5, 2, 3]),
    frame(["slice", 1]), frame(["complex", "a", 1]), frame(["complex", 1]), frame(["bytes", 0]),
    frame(["bytes", -1]), frame(["bytes", True]), frame(["bytes", "0"]), frame(["str"]),
    frame(["error"]), frame(["error", 1, "ValueError"]), frame(["error", "x", ["list"]]),
    frame(["error", "x"]), frame(["mine", 1, True, "int", None]), frame(["named", "os", "system"]),
    frame(["tensor"]), frame(["tensor", 0, "float32", False, 2]),
    frame(["torch.dtype", "load"]), frame(["torch.dtype", "quint8"]), frame(["torch.dtype", []]),
    frame(["torch.device", "nowhere"]), frame(["torch.device", 3]), frame(["numpy.dtype", "O"]),
    frame(["numpy.dtype", "i4,O"]), frame(["numpy.dtype", "|V8"]), frame(["numpy.dtype", "<U0"]),
    frame(["numpy.dtype", "<f999"]), frame(["numpy.dtype", "{'names': ['a'], 'formats': ['O']}"]),
    frame(["meta", "float32", False, -1]), frame(["meta", "float32", False, 2**62, 2**62]),
    frame(["meta", "float32", 1, 2]), frame(["meta", "int32", True, 2]),
    frame(["meta", "float32", False, *[1] * 65]), frame(["meta", "float32", False, 1.0]),
    frame(nested(200)), frame(1, sizes=[1]), frame(1, sizes=[-1, 1]), frame(1, sizes=[True]),
    frame(1, kind=1), frame(1, number="1"), frame(1, number=True), b"", b"null", b"[]", b"\xff",
    b"[" * 200_000, b'["told",1,[],' + b"9" * 5000 + b"]", b'{"a":1}', b'["told",1,[],1,2]',
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED, ids=lambda t: str(t[:60]))
def test_what_is_malformed_is_refused(text):
    with pytest.raises(WireError):
        unpacked(text, b"")


@pytest.mark.parametrize(
    ("body", "blob"),
    [
        (["tensor", 0, "float32", False, 3], b"12345678"),
        (["tensor", 0, "float32", False, 2**40, 2**40], b"12345678"),
        (["tensor", 0, "int64", True, 1], b"12345678"),
        (["tensor", 0, "float32", None, 2], b"12345678"),
        (["array", 0, "<U2"], b"\xff" * 8),
        (["array", 0, "|O8", 1], b"12345678"),
        (["scalar", 0, "<f8", 1], b"12345678"),
        (["scalar", 0, "<f4"], b"12345678"),
        (["str", 0], b"\xff2345678"),
    ],
)
def test_buffers_that_do_not_fit_are_refused(body, blob):
    with pytest.raises(WireError):
        unpacked(frame(body, [8]), blob)


def test_a_truth_value_is_one_or_zero():
    """A byte of 2 in a tensor of bool would be neither equal to True nor to False."""
    for tag in ("tensor", "array"):
        rest = ["bool", False, 3] if tag == "tensor" else ["|b1", 3]
        got = unpacked(frame([tag, 0, *rest], [3]), b"\x02\x00\xff")
        assert got.tolist() == [True, False, True]
        assert bytes(np.asarray(got)) == b"\x01\x00\x01"


def test_headers():
    good = wire.HEADER.pack(wire.MARK, 5, 7)
    assert wire.lengths(good) == (5, 7)
    for bad in (b"GET ", wire.MARK[::-1]):
        with pytest.raises(WireError, match="no frame"):
            wire.lengths(wire.HEADER.pack(bad, 5, 7))
    for text, buffers in [(2**32 - 1, 0), (0, 2**63), (wire.MAX_TEXT + 1, 0)]:
        with pytest.raises(WireError, match="at most"):
            wire.lengths(wire.HEADER.pack(wire.MARK, text, buffers))


SAMPLE = [
    {"a": [1, 2.5, None, "text"], (1, 2): {3, 4}}, torch.arange(6.0).view(2, 3), b"bytes",
    np.arange(4), np.float32(2), slice(1, 2), 1 << 80, torch.float16, ValueError("why"), 2j,
    np.array(["ab", "c"]), torch.ones(2, dtype=torch.bool), collections.Counter("ab"), "y" * 1500,
]  # fmt: skip
TEXT, BLOB = packed(SAMPLE)
WORDS = ["tensor", "array", "scalar", "meta", "list", "dict", "bytes", "error", "int", "range",
         "float32", "complex128", "bool", "<f8", "<U3", "|O8", "M8[ns]", "set"]  # fmt: skip


def tampered(text: bytes, blob: bytes, dice: random.Random) -> tuple[bytes, bytes]:
    """A frame with one thing changed: a byte, a word, a piece of its tree, a length."""
    kind = dice.randrange(5)
    at = dice.randrange(len(text) + 1)
    if kind == 0:
        return text[:at] + bytes([dice.randrange(256)]) + text[at + 1 :], blob
    if kind == 1:
        return text[:at] + text[at + dice.randrange(1, 9) :], blob
    if kind == 2:
        return text, blob[: dice.randrange(len(blob) + 1)]
    try:
        node = tree = json.loads(text.decode("utf-8", "surrogatepass"))
    except ValueError:  # an earlier change has broken it
        return text, blob
    if not isinstance(tree, list) or len(tree) < 4:
        return text, blob
    parent, index = tree, 3
    while isinstance(node, list) and node and dice.random() < 0.85:
        parent, index = node, dice.randrange(len(node))
        node = node[index]
    parent[index] = dice.choice(
        [None, True, -1, 0, 1, 2**31, 2**62, 10**30, 1.5, "", [], {}, tree[2], *WORDS, parent]
        if kind == 3 else [[dice.choice(WORDS), *parent[:4]], parent[::-1], parent * 2]
    )  # fmt: skip
    try:
        return json.dumps(tree).encode(), blob
    except ValueError:  # it holds itself now
        return text, blob


def test_whatever_is_tampered_with_is_read_or_refused():
    """Thousands of frames, each with a few things changed: never another error, never a crash."""
    dice, refused = random.Random(6), 0
    for _ in range(4000):
        text, blob = TEXT, BLOB
        for _ in range(dice.randrange(1, 4)):
            text, blob = tampered(text, blob, dice)
        try:
            repr(unpacked(text, blob))
        except WireError:
            refused += 1
    assert 1000 < refused < 4000


@settings(max_examples=300, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.binary(max_size=300), st.binary(max_size=40))
def test_random_bytes_are_refused(text, blob):
    with pytest.raises(WireError):
        unpacked(text, blob)


TAGS = st.sampled_from(WORDS)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TAGS),
    lambda inner: st.builds(
        lambda tag, rest: [tag, *rest], st.sampled_from(WORDS), st.lists(inner)
    ),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[*HealthCheck])
@given(JSON, st.lists(st.integers(0, 16), max_size=3))
def test_random_trees_are_read_or_refused(body, sizes):
    try:
        unpacked(frame(body, sizes), bytes(sum(sizes)))
    except WireError:
        pass


def test_nothing_is_allocated_because_of_a_claim():
    claims = [
        frame(["tensor", 0, "float64", False, 2**30], [0]), frame(["bytes", 10**9]),
        frame(["array", 0, "<f8", 2**30], [0]), frame(["range", 0, 10**18, 1]),
        frame(["meta", "float32", False, 2**40]),
        frame(["tensor", 0, "int8", False, 0, 2**40], [0]),
        frame(1, sizes=[2**60]),
    ]  # fmt: skip
    tracemalloc.start()
    for claim in claims:
        try:
            unpacked(claim, b"")
        except WireError:
            pass
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_modes_of_a_test_do_not_reach_the_wire():
    """A mode that a check has switched on would else see, or refuse, what only travels."""

    class Refuses(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            raise AssertionError(f"{func} was called")

    text, blob = packed(tensor := torch.ones(2, 3))
    with Refuses():
        assert packed(tensor) == (text, blob)
        got = unpacked(text, blob)
    assert torch.equal(got, tensor)
    with torch.device("meta"):
        assert torch.equal(unpacked(text, blob), tensor)
        assert unpacked(*packed(tensor[:0])).device.type == "cpu"


def test_values_are_read_where_torch_is_not_imported(monkeypatch):
    text, blob = packed(torch.ones(2))
    monkeypatch.delitem(sys.modules, "torch")
    with pytest.raises(WireError, match="torch, which is not imported"):
        unpacked(text, blob)
    assert carried([1, np.float32(2)]) == [1, np.float32(2)]
