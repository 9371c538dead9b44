"""FlashAttention against PyTorch's, and its memory against plain attention's."""

import math
from itertools import pairwise

import pytest
import torch
from torch.nn import functional as F

from tutor_lib.attention import flash
from tutor_lib.attention.core import causal_mask, scaled_dot_product_attention
from tutor_lib.attention.flash import flash_attention, nothing_seen, online_softmax_step
from tutor_lib.attention.memory import PeakMemory

B, H, D, DV = 2, 3, 5, 7
SIZES = [(13, 13), (13, 19), (1, 19)]
SIGHTS = [(False, None), (True, None), (True, 1), (True, 6), (True, 20)]  # causal, window
BLOCKS = [1, 4, 64]  # no size above is a multiple of 4, none is above 64


def literal_mask(n_queries: int, n_keys: int, causal: bool, window: int | None) -> torch.Tensor:
    mask = torch.ones(n_queries, n_keys, dtype=torch.bool)
    for i in range(n_queries):
        for j in range(n_keys):
            before = n_keys - n_queries + i - j
            late, old = before < 0, window is not None and before >= window
            mask[i, j] = not (causal and (late or old))
    return mask


def leaves(shapes, device: str = "cpu", dtype: torch.dtype = torch.double) -> list[torch.Tensor]:
    torch.manual_seed(0)
    return [torch.randn(s, device=device, dtype=dtype).requires_grad_() for s in shapes]


def qkv(n_queries: int, n_keys: int, **where) -> list[torch.Tensor]:
    return leaves([(B, H, n_queries, D), (B, H, n_keys, D), (B, H, n_keys, DV)], **where)


@pytest.mark.parametrize(("causal", "window"), SIGHTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_pytorchs_with_gradients(place, size, causal, window):
    inputs = qkv(*size, device=place.device, dtype=place.dtype)
    mask = literal_mask(*size, causal, window).to(place.device)
    expected = F.scaled_dot_product_attention(*inputs, attn_mask=mask)
    dout = torch.randn_like(expected)
    gradients = torch.autograd.grad(expected, inputs, dout)
    for block_size in BLOCKS:
        out = flash_attention(*inputs, causal, window, block_size=block_size)
        ours = torch.autograd.grad(out, inputs, dout)
        for a, b in zip((out, *ours), (expected, *gradients), strict=True):
            assert a.dtype == place.dtype
            assert torch.allclose(a, b, rtol=place.tolerance, atol=place.tolerance)


def test_half_precision_is_summed_in_float32():
    """What comes out is off by one rounding of it, not by one of each tile."""
    inputs = qkv(13, 19, dtype=torch.bfloat16)
    wide = [x.detach().float().requires_grad_() for x in inputs]
    out = flash_attention(*inputs, block_size=4)
    expected = F.scaled_dot_product_attention(*wide)
    gradients = torch.autograd.grad(expected.sum(), wide)
    ours = torch.autograd.grad(out.sum(), inputs)
    for a, b in zip((out, *ours), (expected, *gradients), strict=True):
        assert a.dtype == torch.bfloat16
        assert torch.allclose(a.float(), b, rtol=2**-8, atol=1e-6)


def test_more_queries_than_keys_and_another_scale():
    inputs = qkv(19, 13)
    expected = F.scaled_dot_product_attention(*inputs, scale=0.7)
    assert torch.allclose(flash_attention(*inputs, scale=0.7, block_size=4), expected, atol=1e-12)


@pytest.mark.parametrize(("causal", "window"), SIGHTS)
def test_gradients_equal_finite_differences(causal, window):
    inputs = leaves([(1, 2, 5, 3), (1, 2, 7, 3), (1, 2, 7, 2)])
    torch.autograd.gradcheck(
        lambda q, k, v: flash_attention(q, k, v, causal, window, block_size=3), inputs
    )


def test_there_is_no_second_derivative_to_be_silently_wrong():
    q, k, v = qkv(5, 5)
    loss = flash_attention(q, k, v).square().sum()
    (dq,) = torch.autograd.grad(loss, q, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        dq.sum().backward()


@pytest.mark.parametrize("cuts", [[17], [1] * 17, [5, 12], [2, 3, 5, 7]], ids=str)
def test_the_online_softmax_is_the_softmax(cuts):
    """Whatever the blocks: with scores far apart, and a row that sees no key at first."""
    torch.manual_seed(1)
    scores, v = torch.randn(B, H, 7, 17) * 1000, torch.randn(B, H, 17, DV)
    scores[:, :, 3, :11] = -math.inf
    seen = nothing_seen(torch.empty(B, H, 7, D), v)
    for s, values in zip(scores.split(cuts, -1), v.split(cuts, -2), strict=True):
        seen = online_softmax_step(seen, s, values)
    out, lse = flash.finish(seen)
    assert torch.allclose(out, scores.softmax(-1) @ v, atol=1e-6)
    assert torch.allclose(lse, scores.logsumexp(-1, keepdim=True))


def test_large_scores_neither_overflow_nor_vanish():
    q, k, v = (x.float().detach().requires_grad_() for x in qkv(13, 13))
    out = flash_attention(1000 * q, 1000 * k, v, causal=True, block_size=4)
    expected = F.scaled_dot_product_attention(1000 * q, 1000 * k, v, is_causal=True)
    assert torch.allclose(out, expected, atol=1e-5)
    assert all(x.isfinite().all() for x in torch.autograd.grad(out.sum(), (q, k, v)))


@pytest.mark.parametrize(("causal", "window"), SIGHTS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_hidden_tiles_are_skipped(monkeypatch, size, causal, window):
    """Forward and backward compute the tiles in which the mask shows something, no others."""
    shapes, scores = [], flash.Tiling.scores

    def counted(*args):
        shapes.append(scores(*args).shape[-2:])
        return scores(*args)

    monkeypatch.setattr(flash.Tiling, "scores", counted)
    flash_attention(*qkv(*size), causal, window, block_size=4).sum().backward()
    rows = literal_mask(*size, causal, window).split(4, dim=0)
    visible = [tile.shape for row in rows for tile in row.split(4, dim=1) if tile.any()]
    assert shapes == visible * 2


def plain(q, k, v):
    return scaled_dot_product_attention(q, k, v, causal_mask(q.size(-2), device=q.device))[0]


def tiled(q, k, v):
    return flash_attention(q, k, v, causal=True, block_size=32)


def peak(attention, length: int, backward: bool, device: str) -> int:
    """The most bytes that attention takes at once beyond q, k and v."""
    inputs = leaves([(1, 2, length, 16)] * 3, device, torch.float)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    with PeakMemory() as memory:
        out = attention(*inputs)
        if backward:
            out.sum().backward()
    return torch.cuda.max_memory_allocated() - before if device == "cuda" else memory.peak


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "and-backward"])
def test_memory_grows_linearly_where_plain_attentions_grows_quadratically(backward, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    growth = {}
    for attention in (tiled, plain):
        peak(attention, 64, backward, device)  # a first run pays for the libraries' workspaces
        bytes_at = [peak(attention, length, backward, device) for length in (128, 256, 512)]
        growth[attention] = [b / a for a, b in pairwise(bytes_at)]
    assert all(ratio < 2.05 for ratio in growth[tiled])
    assert all(ratio > 3.8 for ratio in growth[plain])


def test_bad_input_is_named(unchecked_shapes):
    q, k, v = qkv(5, 7)
    with pytest.raises(ValueError, match="equal head size, got 5 and 4"):
        flash_attention(q, k[..., :4], v)
    with pytest.raises(ValueError, match=r"equal batch and heads, got \[\(2, 3, 5, 5\), \(2, 2"):
        flash_attention(q, k[:, :2], v)
    with pytest.raises(ValueError, match="a value for each, got 7 and 6"):
        flash_attention(q, k, v[..., :6, :])
    with pytest.raises(ValueError, match="a value for each, got 0 and 0"):
        flash_attention(q, k[..., :0, :], v[..., :0, :])
    with pytest.raises(ValueError, match="needs T ≤ S, got 7 and 5"):
        flash_attention(k, q, q, causal=True)
    with pytest.raises(ValueError, match="got 0 with causal=True"):
        flash_attention(q, k, v, causal=True, window=0)
    with pytest.raises(ValueError, match="got 3 with causal=False"):
        flash_attention(q, k, v, window=3)
    with pytest.raises(ValueError, match="block_size must be at least 1, got 0"):
        flash_attention(q, k, v, block_size=0)
