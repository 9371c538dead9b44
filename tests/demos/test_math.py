"""The arithmetic in JavaScript against PyTorch and tutor_lib, on random numbers."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tutor_lib.embed.rope import rope_angles, rotate
from tutor_lib.ffn.norm import RMSNorm

T, D, ROWS = 13, 14, 11


def close(found, expected, tolerance=1e-5):
    torch.testing.assert_close(
        torch.tensor(found, dtype=torch.float64),
        torch.as_tensor(expected).double(),
        atol=tolerance,
        rtol=tolerance,
    )


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


@pytest.mark.parametrize("scale", [1, 100, 10_000])
def test_softmax(code, rng, scale):
    x = scale * torch.randn(17, generator=rng)
    close(code("softmax", x.tolist()), x.softmax(-1))


def test_softmax_gives_a_masked_entry_nothing(code):
    assert code("softmax", [0.0, -math.inf, 0.0]) == [0.5, 0.0, 0.5]


def test_dot_and_argmax(code, rng):
    a, b = torch.randn(2, D, generator=rng)
    assert code("dot", a.tolist(), b.tolist()) == pytest.approx((a @ b).item(), abs=1e-5)
    assert code("argmax", a.tolist()) == a.argmax().item()
    assert code("argmax", [1, 3, 3]) == 1


def test_order_is_stable(code):
    assert code("order", [0.1, 0.4, 0.1, 0.4]) == [1, 3, 0, 2]


@pytest.mark.parametrize("count", [0, 1, 7, 29, 31])
def test_largest(code, rng, count):
    """Of 29 values among 5, so that many are equal: as a stable sort has them."""
    values = torch.randint(5, (29,), generator=rng).float()
    values[3] = float("inf")
    expected = values.sort(descending=True, stable=True).indices[:count]
    assert code("largest", values.tolist(), count) == expected.tolist()


@pytest.mark.parametrize("columns", [13, 14, 15, 16])
def test_multiply(code, rng, columns):
    """Four sums at once, and the one to three columns left over."""
    matrix, x = torch.randn(ROWS, columns, generator=rng), torch.randn(columns, generator=rng)
    close(code("multiply", matrix.flatten().tolist(), x.tolist()), matrix @ x)


def test_rms_norm(code, rng):
    norm = RMSNorm(D, eps=1e-3)
    norm.weight.data = torch.randn(D, generator=rng)
    x = torch.randn(D, generator=rng)
    close(code("rmsNorm", x.tolist(), norm.weight.tolist(), 1e-3), norm(x).detach())


@pytest.mark.parametrize("position", [0, 1, 127])
def test_rope(code, rng, position):
    x, angles = torch.randn(1, D, generator=rng), rope_angles(128, D, 500.0)[position]
    found = code("ropeAngles", position, D, 500.0)
    close(found, angles)
    close(code("rotate", x[0].tolist(), found), rotate(x, angles[None])[0])


def test_silu(code, rng):
    x = 3 * torch.randn(17, generator=rng)
    close([code("silu", value) for value in x.tolist()], F.silu(x))


@pytest.mark.parametrize("start", [0, D])
def test_attend(code, rng, start):
    """One query against 13 of 17 rows, each row holding two heads."""
    q = torch.randn(1, D, generator=rng)
    keys, values = torch.randn(2, 17, 2 * D, generator=rng)
    arguments = [q[0].tolist(), keys.flatten().tolist(), values.flatten().tolist()]
    found = code.page.evaluate(
        """([q, keys, values, ...rest]) => plain(code.attend(
             Float32Array.from(q), Float32Array.from(keys), Float32Array.from(values), ...rest))""",
        [*arguments, T, 2 * D, start],
    )
    k, v = (x[None, :T, start : start + D] for x in (keys, values))
    close(found["mixed"], F.scaled_dot_product_attention(q[None], k, v)[0, 0])
    close(found["weights"], (q @ k[0].T / math.sqrt(D)).softmax(-1)[0])


def test_halves(code):
    """Every 16-bit float that is finite, the subnormal ones too."""
    bits = np.arange(65536, dtype="<u2")
    bits = bits[np.isfinite(bits.view(np.float16))]
    pairs = bits.view(np.uint8).reshape(-1, 2)
    found = code("decodeHalves", [*pairs[:, 1].tolist(), *pairs[:, 0].tolist()])
    np.testing.assert_array_equal(found, bits.view(np.float16).astype(np.float64))


def test_base64(code):
    assert code("decodeBase64", "AP9/gA==") == [0, 255, 127, 128]


def test_tensors_are_named_in_order(code):
    named = code.page.evaluate(
        "() => plain(code.nameTensors([['a', [2, 2]], ['b', [1]]], Float32Array.of(1, 2, 3, 4, 5)))"
    )
    assert named == {"a": [1, 2, 3, 4], "b": [5]}
    with pytest.raises(Exception, match="names 1 numbers, but its file holds 2"):
        code.page.evaluate("() => code.nameTensors([['a', [1]]], Float32Array.of(1, 2))")


def test_numbers_as_text(code):
    assert code("fixed", -1.23456, 2) == "−1.23"
    assert code("fixed", -0.04, 1) == "0.0"
    assert code("percent", 0) == "0\u00a0%"
    assert code("percent", 0.0001) == "<\u00a00.1\u00a0%"
    assert code("percent", 0.1234) == "12.3\u00a0%"
