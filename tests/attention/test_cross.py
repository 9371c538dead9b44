"""Cross-attention against PyTorch's own module, forward and backward."""

import pytest
import torch

from tutor_lib.attention.multihead import CrossAttention
from tutor_lib.attention.scored import ScoredAttention

B, H, T, S, D = 2, 3, 5, 7, 11
C = H * D


def key_masks() -> dict[str, torch.Tensor | None]:
    """True at the source's tokens: filled up on the right, then anywhere."""
    lengths = torch.tensor([S, 4])
    return {
        "none": None,
        "right": torch.arange(S) < lengths[:, None],
        "anywhere": torch.tensor([[0, 1, 1, 0, 1, 1, 0], [1, 0, 0, 0, 0, 0, 1]]).bool(),
    }


@pytest.fixture
def pair(place):
    """Ours and PyTorch's module with the same weights, biases too."""
    ours = CrossAttention(C, H, H, qkv_bias=True, o_bias=True).to(place.device, place.dtype)
    theirs = torch.nn.MultiheadAttention(C, H, batch_first=True).to(place.device, place.dtype)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.data = torch.cat([p.weight.data for p in projections])
    theirs.in_proj_bias.data = torch.cat([p.bias.data for p in projections])
    theirs.out_proj.load_state_dict(ours.o_proj.state_dict())
    return ours, theirs


def close(a, b, tolerance):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1, b.abs().max().item()))


@pytest.mark.parametrize("name", ["none", "right", "anywhere"])
@pytest.mark.parametrize("way", ["plain", "fused"])
def test_cross_attention_is_pytorchs_with_gradients(pair, place, name, way):
    device, dtype, tolerance = place
    ours, theirs = pair
    x, source = (torch.randn(B, n, C, device=device, dtype=dtype) for n in (T, S))
    keys = key_masks()[name]
    keys = None if keys is None else keys.to(device)
    mask = None if keys is None else keys[:, None, None].expand(B, 1, T, S)
    inputs = [y.clone().requires_grad_() for y in (x, source)]
    peers = [y.clone().requires_grad_() for y in (x, source)]
    expected, expected_weights = theirs(
        peers[0],
        peers[1],
        peers[1],
        key_padding_mask=None if keys is None else ~keys,
        average_attn_weights=False,
    )
    memory = ours.remember(inputs[1])
    if way == "plain":
        out, weights = ours(inputs[0], memory, mask)
        close(weights, expected_weights, tolerance)
    else:
        out = ours.fused(inputs[0], memory, mask)
    close(out, expected, tolerance)
    slope = torch.randn_like(out)
    out.backward(slope)
    expected.backward(slope)
    for mine, peer in zip(inputs, peers, strict=True):
        close(mine.grad, peer.grad, tolerance)
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    close(torch.cat([p.weight.grad for p in projections]), theirs.in_proj_weight.grad, tolerance)
    close(torch.cat([p.bias.grad for p in projections]), theirs.in_proj_bias.grad, tolerance)
    close(ours.o_proj.weight.grad, theirs.out_proj.weight.grad, tolerance)


def test_a_memory_serves_each_query_alone(pair, place):
    """What `remember` made does not depend on who looks, nor how many do."""
    ours, _ = pair
    x, source = (torch.randn(B, n, C, device=place.device, dtype=place.dtype) for n in (T, S))
    memory = ours.remember(source)
    whole = ours.fused(x, memory)
    for t in range(T):
        close(ours.fused(x[:, t : t + 1], memory), whole[:, t : t + 1], place.tolerance)


def test_grouped_heads_and_another_scale_take_the_same_two_ways():
    ours = CrossAttention(C, 6, 2, head_size=D, attend=ScoredAttention(scale=0.7))
    x, source = torch.randn(B, T, C), torch.randn(B, S, C)
    memory = ours.remember(source)
    assert memory[0].shape == (B, 2, S, D)
    q = ours.q_proj(x).view(B, T, 6, D).transpose(1, 2)
    k, v = (y.repeat_interleave(3, dim=1) for y in memory)
    mixed = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=0.7)
    expected = ours.o_proj(mixed.transpose(1, 2).reshape(B, T, -1))
    close(ours(x, memory)[0], expected, 1e-5)
    close(ours.fused(x, memory), expected, 1e-5)
