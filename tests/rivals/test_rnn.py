"""Recurrent networks against PyTorch's, and what is left of the past against its Jacobians."""

import math

import pytest
import torch
from torch import Tensor, nn

from tutor_lib.attention.multihead import MultiHeadAttention
from tutor_lib.rivals.past import signal_left
from tutor_lib.rivals.rnn import LSTM, RNN

B, T, C, IN = 3, 11, 7, 5
PEERS = {RNN: (nn.RNN, nn.RNNCell), LSTM: (nn.LSTM, nn.LSTMCell)}
kinds = pytest.mark.parametrize("kind", [RNN, LSTM])


def randomised(kind, d_input: int = IN) -> nn.Module:
    layer = kind(C, d_input)
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return layer


def with_weights_of(peer: nn.Module, ours: nn.Module) -> nn.Module:
    """PyTorch's layer or cell with our weights; it has a second bias, which does nothing here."""
    last = "_l0" if isinstance(peer, nn.RNNBase) else ""
    values = {
        "weight_ih": ours.input_proj.weight,
        "weight_hh": ours.state_proj.weight,
        "bias_ih": ours.input_proj.bias,
        "bias_hh": torch.zeros_like(ours.input_proj.bias),
    }
    peer.load_state_dict({name + last: value.detach() for name, value in values.items()})
    return peer.to(ours.input_proj.weight)


def as_tuple(state) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@kinds
def test_equals_pytorchs_layer(kind, place):
    device, dtype, tolerance = place
    ours = randomised(kind).to(device, dtype)
    theirs = with_weights_of(PEERS[kind][0](IN, C, batch_first=True), ours)
    x, y = (torch.randn(B, T, IN).to(device, dtype).requires_grad_() for _ in range(2))
    y.data.copy_(x.data)
    begin = tuple(torch.randn(B, C).to(device, dtype) for _ in ours.new_state(B))
    out, state = ours.resume(x, begin)
    lead = tuple(s[None] for s in begin)
    expected, last = theirs(y, lead if kind is LSTM else lead[0])
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)
    for mine, other in zip(state, as_tuple(last), strict=True):
        torch.testing.assert_close(mine, other[0], rtol=tolerance, atol=tolerance)
    slope = torch.randn(B, T, C).to(device, dtype)
    (out * slope).sum().backward()
    (expected * slope).sum().backward()
    pairs = [(x.grad, y.grad), (ours.input_proj.weight.grad, theirs.weight_ih_l0.grad),
             (ours.state_proj.weight.grad, theirs.weight_hh_l0.grad),
             (ours.input_proj.bias.grad, theirs.bias_ih_l0.grad)]  # fmt: skip
    for mine, other in pairs:
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=10 * tolerance)


@kinds
def test_equals_pytorchs_cell_step_by_step(kind):
    ours = randomised(kind).double()
    theirs = with_weights_of(PEERS[kind][1](IN, C), ours)
    state = ours.new_state(B)
    other = tuple(torch.zeros(B, C, dtype=torch.float64) for _ in state)
    for x in torch.randn(T, B, IN, dtype=torch.float64):
        y, state = ours.step(x, state)
        other = as_tuple(theirs(x, other if kind is LSTM else other[0]))
        torch.testing.assert_close(state, other)
        assert torch.equal(y, state[0])


@kinds
def test_a_text_may_be_read_in_parts(kind):
    layer, x = randomised(kind), torch.randn(B, T, IN)
    whole, last = layer.resume(x, layer.new_state(B))
    state, parts = layer.new_state(B), []
    for part in x.split([4, 0, 1, 6], dim=1):
        out, state = layer.resume(part, state)
        parts.append(out)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole)
    torch.testing.assert_close(state, last)


@kinds
def test_a_text_is_read_from_a_state_of_zeros(kind):
    layer, x = randomised(kind, C), torch.randn(B, T, C)
    theirs = with_weights_of(PEERS[kind][0](C, C, batch_first=True), layer)
    torch.testing.assert_close(layer(x), theirs(x)[0])
    assert layer(x[:, :0]).shape == (B, 0, C)


@kinds
def test_what_fills_a_row_up_leaves_the_state_alone(kind):
    """Each row, filled up on either side or within, ends as PyTorch's ends on its tokens alone."""
    layer = randomised(kind).double()
    peer = with_weights_of(PEERS[kind][0](IN, C, batch_first=True), layer)
    x = torch.randn(B, T, IN, dtype=torch.float64)
    mask = torch.ones(B, T, dtype=torch.bool)
    mask[0, 7:], mask[1, :3], mask[2, 4:6] = False, False, False
    state = layer.resume(x, layer.new_state(B), mask)[1]
    for row in range(B):
        last = as_tuple(peer(x[row][mask[row]])[1])
        for mine, other in zip(state, last, strict=True):
            torch.testing.assert_close(mine[row], other[0])


@kinds
def test_begins_orthogonal_and_the_forget_gate_open(kind):
    layer = kind(C)
    for block in layer.state_proj.weight.split(C):
        torch.testing.assert_close(block @ block.T, torch.eye(C))
    expected = torch.zeros(4, C)
    expected[1] = 1.0
    bias = layer.input_proj.bias
    assert torch.equal(bias, expected.flatten() if kind is LSTM else torch.zeros(C))
    count = sum(p.numel() for p in layer.parameters())
    assert count == (8 * C * C + 4 * C if kind is LSTM else 2 * C * C + C)


@pytest.mark.parametrize("kind", [RNN, LSTM])
@pytest.mark.parametrize("sizes", [(0,), (-1,), (7, 0)])
def test_bad_widths_are_named(kind, sizes):
    with pytest.raises(ValueError, match=str(sizes[-1])):
        kind(*sizes)


def test_the_signal_of_an_rnn_is_a_product_of_jacobians():
    layer = randomised(RNN, C).double()
    x = torch.randn(B, T, C, dtype=torch.float64)
    w, u = layer.input_proj.weight, layer.state_proj.weight
    expected = torch.zeros(T, dtype=torch.float64)
    for row in layer(x):
        past = torch.eye(C, dtype=torch.float64)  # ∂h_T/∂h_t
        for n in range(T):
            bent = torch.diag(1 - row[T - 1 - n] ** 2)
            expected[n] += (past @ bent @ w).norm() / B
            past = past @ bent @ u
    torch.testing.assert_close(signal_left(layer, x), expected)


def attention() -> nn.Module:
    layer = MultiHeadAttention(C, 1).double()
    return lambda x: layer.fused(x, causal=True)


@pytest.mark.parametrize("make", [lambda: randomised(LSTM, C).double(), attention],
                         ids=["LSTM", "attention"])  # fmt: skip
def test_the_signal_is_that_of_finite_differences(make):
    layer, x, step = make(), torch.randn(2, 5, C, dtype=torch.float64), 1e-6
    expected = torch.zeros(5, dtype=torch.float64)
    for n in range(5):
        for row in range(2):
            total = 0.0
            for c in range(C):
                nudge = torch.zeros_like(x)
                nudge[row, 4 - n, c] = step
                slope = (layer(x + nudge) - layer(x - nudge))[row, -1] / (2 * step)
                total += slope.square().sum().item()
            expected[n] += math.sqrt(total) / 2
    torch.testing.assert_close(signal_left(layer, x), expected, rtol=1e-6, atol=1e-9)


def test_the_signal_leaves_no_trace_in_the_gradients():
    layer = RNN(C)
    with torch.no_grad():
        signal_left(layer, torch.randn(B, T, C))
    assert all(p.grad is None for p in layer.parameters())


@pytest.mark.parametrize("shape", [(0, T, C), (B, 0, C)])
def test_a_signal_needs_a_token(shape):
    with pytest.raises(ValueError, match="need a row and a token"):
        signal_left(RNN(C), torch.zeros(shape))
