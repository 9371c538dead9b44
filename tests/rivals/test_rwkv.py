"""RWKV-4 against `transformers`, and its mean against the paper's sums."""

from functools import partial

import pytest
import torch
from torch import Tensor, nn
from transformers import RwkvConfig
from transformers.models.rwkv.modeling_rwkv import RwkvFeedForward, RwkvModel, RwkvSelfAttention

from tutor_lib.ffn.norm import LayerNorm
from tutor_lib.rivals.language_model import LanguageModel, Recurrent, state_bytes
from tutor_lib.rivals.rwkv import ChannelMixing, TimeMixing, WKVState, wkv, wkv_chunked

B, T, C, F = 2, 11, 7, 13


def randomised(made: nn.Module) -> nn.Module:
    for parameter in made.parameters():
        if parameter.ndim < 2:
            nn.init.normal_(parameter)
    return made


def time_mixing() -> TimeMixing:
    return randomised(TimeMixing(C))


def channel_mixing() -> ChannelMixing:
    return randomised(ChannelMixing(C, F))


def peer_config(**options) -> RwkvConfig:
    return RwkvConfig(
        hidden_size=C, intermediate_size=F, rescale_every=0, **{"num_hidden_layers": 2} | options
    )


def in_their_names(ours: nn.Module, what=lambda parameter: parameter.detach()) -> dict:
    """Our weights, or what `what` makes of them, under the names of `transformers`."""
    names = {"r_proj": "receptance", "k_proj": "key", "v_proj": "value", "o_proj": "output",
             "r_share": "time_mix_receptance", "k_share": "time_mix_key",
             "v_share": "time_mix_value", "log_decay": "time_decay",
             "bonus": "time_first"}  # fmt: skip
    found = {}
    for name, parameter in ours.named_parameters():
        first, _, rest = name.partition(".")
        tensor = what(parameter)
        tensor = tensor.view(1, 1, -1) if first.endswith("share") else tensor
        found[".".join(filter(None, (names[first], rest)))] = tensor
    return found


def gradient(parameter: nn.Parameter) -> Tensor:
    """Nothing decays before the second token: then there is none, which is to say 0."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def peer(ours: nn.Module) -> nn.Module:
    kind = RwkvSelfAttention if isinstance(ours, TimeMixing) else RwkvFeedForward
    theirs = kind(peer_config(num_hidden_layers=1), 0)
    theirs.load_state_dict(in_their_names(ours))
    return theirs.to(ours.k_proj.weight)


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    largest = theirs.abs().max().item()
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * largest)


mixings = pytest.mark.parametrize("make", [time_mixing, channel_mixing])


@mixings
@pytest.mark.parametrize("length", [1, 2, T])
def test_equals_transformers(make, length, place):
    device, dtype, tolerance = place
    tolerance = max(tolerance, 2e-6)  # their mean is computed in float32
    ours = make().to(device, dtype)
    theirs = peer(ours)
    x = torch.randn(B, length, C).to(device, dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    slope = torch.randn(B, length, C).to(device, dtype)
    out, expected = ours(x), theirs(y)[0]
    close(out, expected, tolerance)
    out.backward(slope)
    expected.backward(slope)
    close(x.grad, y.grad, tolerance)
    gradients = in_their_names(ours, gradient)
    for name, parameter in theirs.named_parameters():
        close(gradients[name], gradient(parameter), tolerance)


@mixings
@torch.no_grad()
def test_steps_equal_transformers_with_its_state(make):
    """Of one row: with more, theirs mixes each with the last token of the others."""
    ours = make()
    theirs, x = peer(ours), torch.randn(1, T, C)
    cache = [torch.zeros(1, C, 1) for _ in range(5)]
    cache[4] -= 1e30
    options = {"use_cache": True} if isinstance(ours, TimeMixing) else {}
    y, state = ours.resume(x[:, :4], ours.new_state(1))
    expected, cache = theirs(x[:, :4], state=cache, **options)
    close(y, expected, 2e-6)
    for t in range(4, T):
        y_t, state = ours.step(x[:, t], state)
        expected, cache = theirs(x[:, t : t + 1], state=cache, **options)
        close(y_t, expected[:, 0], 2e-6)


@mixings
@pytest.mark.parametrize("cuts", [[T], [1, T - 1], [3, 1, 7], [1] * T])
@torch.no_grad()
def test_reading_in_pieces_equals_reading_at_once(make, cuts, place):
    device, dtype, tolerance = place
    ours = make().to(device, dtype)
    x = torch.randn(B, T, C).to(device, dtype)
    state, pieces = ours.new_state(B), []
    for piece in x.split(cuts, dim=1):
        y, state = ours.resume(piece, state)
        pieces.append(y)
    expected = peer(ours)(x)[0]
    close(torch.cat(pieces, dim=1), expected, max(tolerance, 2e-6))
    close(Recurrent.resume(ours, x, ours.new_state(B))[0], expected, max(tolerance, 2e-6))


def test_a_whole_model_equals_transformers():
    """Its first layer has one more norm, which is made to be without effect on what is normed."""
    theirs = RwkvModel(peer_config(vocab_size=53, num_hidden_layers=3)).eval()
    layers = [part for _ in range(3) for part in (time_mixing(), channel_mixing())]
    ours = LanguageModel(53, C, layers, LayerNorm)
    for norm in (*ours.norms, ours.final_norm):
        randomised(norm)
    first = nn.functional.layer_norm(ours.embedding.weight, (C,))
    weights = {"embeddings.weight": first}
    weights |= {f"ln_out.{name}": p for name, p in ours.final_norm.named_parameters()}
    weights |= {"blocks.0.pre_ln.weight": torch.ones(C), "blocks.0.pre_ln.bias": torch.zeros(C)}
    for i, (norm, part) in enumerate(zip(ours.norms, ours.layers, strict=True)):
        block = f"blocks.{i // 2}."
        place_of = ("attention.", "feed_forward.")[i % 2]
        weights |= {f"{block}ln{1 + i % 2}.{name}": p for name, p in norm.named_parameters()}
        weights |= {block + place_of + name: p for name, p in in_their_names(part).items()}
    theirs.load_state_dict(weights)
    ours.embedding.weight.data = nn.functional.layer_norm(first, (C,))
    ids = torch.randint(53, (B, T))
    expected = theirs(ids).last_hidden_state @ ours.embedding.weight.T
    close(ours(ids), expected, 1e-4)


def sums(k: Tensor, v: Tensor, decay: Tensor, bonus: Tensor) -> Tensor:
    """The paper's formula for one row, number by number, with plain exponentials."""
    out = torch.empty_like(v)
    for t in range(k.size(0)):
        for c in range(k.size(1)):
            above = below = 0.0
            for i in range(t + 1):
                exponent = bonus[c] + k[t, c] if i == t else k[i, c] - (t - 1 - i) * decay[c]
                above, below = above + exponent.exp() * v[i, c], below + exponent.exp()
            out[t, c] = above / below
    return out


def nothing_read(like: Tensor) -> WKVState:
    zeros = torch.zeros_like(like[:, 0])
    return WKVState(zeros, zeros, zeros - torch.inf)


FORMS = [wkv, *(partial(wkv_chunked, chunk=size) for size in (1, 3, 8, 64))]
forms = pytest.mark.parametrize("form", FORMS, ids=["loop", "1", "3", "8", "64"])


@forms
@pytest.mark.parametrize("length", [2, 3, T])
def test_wkv_is_the_papers_formula_and_its_gradient(form, length):
    k, v = torch.randn(2, 1, length, C, dtype=torch.float64)
    decay, bonus = torch.rand(C, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    given = [tensor.requires_grad_() for tensor in (k, v, decay, bonus)]
    out, _ = form(*given, nothing_read(k))
    expected = sums(k[0], v[0], decay, bonus)
    close(out[0], expected)
    slope = torch.randn(length, C, dtype=torch.float64)
    ours = torch.autograd.grad((out[0] * slope).sum(), given, materialize_grads=True)
    theirs = torch.autograd.grad((expected * slope).sum(), given, materialize_grads=True)
    for gradient, of_formula in zip(ours, theirs, strict=True):
        close(gradient, of_formula)


@forms
def test_wkv_goes_on_from_any_sums_and_hands_them_on_with_their_gradient(form):
    k, v = torch.randn(2, B, T, C, dtype=torch.float64)
    decay, bonus = torch.rand(C, dtype=torch.float64), torch.randn(C, dtype=torch.float64)
    given = [tensor.requires_grad_() for tensor in (k, v, decay, bonus)]
    whole = torch.stack([sums(*row, decay, bonus) for row in zip(k, v, strict=True)])
    state, pieces = nothing_read(k), []
    for k_piece, v_piece in zip(k.split([4, 7], 1), v.split([4, 7], 1), strict=True):
        out, state = form(k_piece, v_piece, decay, bonus, state)
        pieces.append(out)
    close(torch.cat(pieces, dim=1), whole)
    slope = torch.randn_like(whole)
    ours = torch.autograd.grad((torch.cat(pieces, dim=1) * slope).sum(), given)
    theirs = torch.autograd.grad((whole * slope).sum(), given)
    for gradient, of_formula in zip(ours, theirs, strict=True):
        close(gradient, of_formula)


@forms
@pytest.mark.parametrize("size", [1e6, 1e30])
def test_exponents_of_any_size_do_not_overflow(form, size):
    k = (size * torch.randn(B, T, C)).requires_grad_()
    v, decay = torch.randn(B, T, C), torch.ones(C)
    out, state = form(k, v, decay, torch.zeros(C), nothing_read(v))
    best = k.cummax(dim=1).values == k  # where the largest key so far is now: its value alone
    torch.testing.assert_close(out[best], v[best], rtol=1e-5, atol=1e-5)
    assert out.abs().le(v.abs().amax(1, keepdim=True) + 1e-5).all()  # a mean
    out.sum().backward()
    assert k.grad.isfinite().all()
    assert all(part.isfinite().all() for part in state)


@torch.no_grad()
def test_the_state_does_not_grow_and_old_states_stay_as_they_were():
    for ours, numbers in ((time_mixing(), 4 * C), (channel_mixing(), C)):
        before = ours.new_state(B)
        after = ours.resume(torch.randn(B, 101, C), before)[1]
        assert state_bytes(before) == state_bytes(after) == 4 * B * numbers
        last = after.last if isinstance(ours, TimeMixing) else after
        assert last.untyped_storage().nbytes() == 4 * B * C  # no view of all 101
    assert not before.any()


@torch.no_grad()
def test_half_precision_keeps_its_sums_in_float32():
    ours, x = time_mixing().bfloat16(), torch.randn(B, T, C).bfloat16()
    y, state = ours.resume(x, ours.new_state(B))
    assert y.dtype == state.last.dtype == torch.bfloat16
    assert {part.dtype for part in (*state.wkv, *ours.new_state(B).wkv)} == {torch.float32}
    close(y.float(), ours.float()(x.float()), 0.05)


@pytest.mark.parametrize("ours", [TimeMixing(31), ChannelMixing(31, 37)])
def test_layers_have_the_parameters_that_they_say(ours):
    said = {TimeMixing: 4 * 31**2 + 5 * 31, ChannelMixing: 31**2 + 2 * 31 * 37 + 2 * 31}
    assert sum(p.numel() for p in ours.parameters()) == said[type(ours)]


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: time_mixing()(torch.zeros(2, 0, C)), r"\(2, 0, 7\)"),
        (lambda: channel_mixing()(torch.zeros(2, 0, C)), r"\(2, 0, 7\)"),
        (lambda: wkv_chunked(*[torch.zeros(B, T, C)] * 4, nothing_read(torch.zeros(B, T, C)), 0),
         "got 0"),
        (lambda: TimeMixing(0), "got 0"),
        (lambda: ChannelMixing(C, -1), "got 7 and -1"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
