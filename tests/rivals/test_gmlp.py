"""gMLP against a literal loop over its paper's equations; `transformers` has none."""

import math

import pytest
import torch
from torch import Tensor, nn

from tutor_lib.rivals.gmlp import GMLP, SpatialGatingUnit
from tutor_lib.rivals.language_model import LanguageModel

B, T, C, F, CONTEXT = 2, 7, 5, 22, 13


def layer(dtype: torch.dtype = torch.float64) -> GMLP:
    made = GMLP(C, F, CONTEXT).to(dtype)
    for parameter in made.parameters():
        nn.init.normal_(parameter, std=0.5)
    return made


def loop(m: GMLP, x: Tensor) -> Tensor:
    """Z = σ(XU), s(Z) = Z₁ ⊙ (W norm(Z₂) + b) number by number, Y = s(Z)V."""
    rows = []
    for row in x:
        z = [m.up_proj.weight @ token + m.up_proj.bias for token in row]
        z = [numbers * (1 + torch.erf(numbers / math.sqrt(2))) / 2 for numbers in z]
        first, second = [n[: F // 2] for n in z], [n[F // 2 :] for n in z]
        for t, n in enumerate(second):
            scaled = (n - n.mean()) / torch.sqrt(n.var(unbiased=False) + 1e-5)
            second[t] = m.gating.norm.weight * scaled + m.gating.norm.bias
        out = []
        for t in range(len(row)):
            gate = m.gating.bias[t] + sum(m.gating.weight[t, s] * second[s] for s in range(t + 1))
            out.append(m.down_proj.weight @ (first[t] * gate) + m.down_proj.bias)
        rows.append(torch.stack(out))
    return torch.stack(rows)


@pytest.mark.parametrize("length", [1, T, CONTEXT])
def test_equals_a_loop(length, place):
    device, dtype, tolerance = place
    m = layer(dtype).to(device)
    x = torch.randn(B, length, C).to(device, dtype).requires_grad_()
    out, expected = m(x), loop(m, x)
    scale = expected.abs().max().item()
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance * scale)
    slope = torch.randn_like(out)
    inputs = [x, *m.parameters()]
    ours, theirs = (torch.autograd.grad(y, inputs, slope) for y in (out, expected))
    for mine, other in zip(ours, theirs, strict=True):
        scale = other.abs().max().item()
        torch.testing.assert_close(mine, other, rtol=tolerance, atol=10 * tolerance * scale)


def test_a_later_token_changes_nothing_earlier():
    m, x = layer(), torch.randn(B, T, C, dtype=torch.float64)
    before = m(x)
    for t in range(T):
        changed = x.clone()
        changed[:, t] += 1.0
        moved = (m(changed) - before).abs().amax((0, 2))
        assert torch.equal(moved[:t], torch.zeros(t, dtype=torch.float64))
        assert moved[t:].min() > 0, "and every token from it on hears of it"


def test_a_text_may_be_read_in_parts_and_token_by_token():
    m, x = layer(), torch.randn(B, T, C, dtype=torch.float64)
    whole = loop(m, x)
    first, state = m.resume(x[:, :3], m.new_state(B))
    rest = []
    for token in x[:, 3:].unbind(1):
        y, state = m.step(token, state)
        rest.append(y)
    torch.testing.assert_close(torch.cat((first, torch.stack(rest, dim=1)), dim=1), whole)


def test_begins_as_if_every_token_were_alone():
    """The gate is 1 at first: what passes is Z₁."""
    m = GMLP(C, F, CONTEXT)
    assert torch.equal(m.gating.bias, torch.ones(CONTEXT))
    assert 0 < m.gating.weight.abs().max() < 0.01
    z = torch.randn(B, CONTEXT, F)
    out, _ = m.gating(z, z[:, :0, : F // 2])
    torch.testing.assert_close(out, z[..., : F // 2], rtol=0.05, atol=0)


def test_is_a_layer_of_a_language_model():
    model = LanguageModel(11, C, [GMLP(C, F, CONTEXT), GMLP(C, F, CONTEXT)])
    ids = torch.randint(11, (B, CONTEXT))
    assert model(ids).shape == (B, CONTEXT, 11)
    with pytest.raises(ValueError, match="14 tokens do not fit the context of 13"):
        model(torch.randint(11, (B, CONTEXT + 1)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GMLP(C, 21, CONTEXT), "got 5 and 21"),
        (lambda: GMLP(0, F, CONTEXT), "got 0 and 22"),
        (lambda: GMLP(C, F, 0), "got 11 and 0"),
        (lambda: SpatialGatingUnit(0, 3), "got 0 and 3"),
        (lambda: layer().step(torch.zeros(1, C, dtype=torch.float64),
                              torch.zeros(1, CONTEXT, F // 2, dtype=torch.float64)),
         "14 tokens do not fit the context of 13"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
