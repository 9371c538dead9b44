"""Mamba-2 against `transformers`, and its three forms against a loop over the recurrence."""

import math

import pytest
import torch
from torch import Tensor, nn
from transformers import DynamicCache
from transformers import Mamba2Config as PeerConfig
from transformers.models.mamba2.modeling_mamba2 import Mamba2ForCausalLM, Mamba2Mixer

from tutor_lib.rivals.language_model import LanguageModel, Recurrent, state_bytes
from tutor_lib.rivals.mamba2 import GatedRMSNorm, Mamba2, Mamba2Config
from tutor_lib.rivals.ssd import segment_sums, ssd_chunked, ssd_quadratic, ssd_recurrent

SIZES = Mamba2Config(
    d_model=15, n_heads=6, head_size=5, state_size=11, n_groups=3, conv_size=4, chunk=7
)


def inputs(length: int, dtype=torch.float64) -> list[Tensor]:
    """x, log_decay, b, c and a state: 2 rows, 6 heads of 5 numbers in 3 groups, N = 7."""
    shapes = [(2, length, 6, 5), (2, length, 6), (2, length, 3, 7), (2, length, 3, 7), (2, 6, 5, 7)]
    made = [torch.randn(shape, dtype=dtype) for shape in shapes]
    made[1] = -made[1].abs()
    return [tensor.requires_grad_() for tensor in made]


def literal(x, log_decay, b, c, state) -> tuple[Tensor, Tensor]:
    """The recurrence, number by number."""
    rows, length, heads, size = x.shape
    y = torch.zeros_like(x)
    last = torch.zeros_like(state)
    for r in range(rows):
        for h in range(heads):
            g = h // (heads // b.size(2))
            for d in range(size):
                s = [state[r, h, d, n].item() for n in range(b.size(3))]
                for t in range(length):
                    a = math.exp(log_decay[r, t, h])
                    for n in range(len(s)):
                        s[n] = a * s[n] + x[r, t, h, d].item() * b[r, t, g, n].item()
                    y[r, t, h, d] = sum(s[n] * c[r, t, g, n].item() for n in range(len(s)))
                last[r, h, d] = torch.tensor(s, dtype=x.dtype)
    return y, last


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    largest = theirs.abs().max().item()
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * largest)


@torch.no_grad()
def test_all_forms_are_the_recurrence():
    x, log_decay, b, c, state = inputs(11)
    expected, last = literal(x, log_decay, b, c, state)
    for form in (ssd_recurrent, lambda *xs: ssd_chunked(*xs, chunk=4)):
        y, after = form(x, log_decay, b, c, state)
        close(y, expected)
        close(after, last)
    from_nothing, _ = literal(x, log_decay, b, c, torch.zeros_like(state))
    close(ssd_quadratic(x, log_decay, b, c), from_nothing)


@pytest.mark.parametrize("length", [1, 2, 7, 8, 23])
@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_chunks_of_any_size_have_the_recurrences_outputs_and_gradients(length, chunk):
    given = inputs(length)
    y, after = ssd_chunked(*given, chunk=chunk)
    expected, last = ssd_recurrent(*given)
    close(y, expected)
    close(after, last)
    slopes = torch.randn_like(y), torch.randn_like(after)
    ours = torch.autograd.grad((y, after), given, slopes)
    theirs = torch.autograd.grad((expected, last), given, slopes)
    for gradient, gradient_of_loop in zip(ours, theirs, strict=True):
        close(gradient, gradient_of_loop)


def test_the_quadratic_form_has_the_recurrences_gradients():
    *given, state = inputs(13)
    slope = torch.randn_like(given[0])
    ours = torch.autograd.grad(ssd_quadratic(*given), given, slope)
    theirs = torch.autograd.grad(ssd_recurrent(*given, torch.zeros_like(state))[0], given, slope)
    for gradient, gradient_of_loop in zip(ours, theirs, strict=True):
        close(gradient, gradient_of_loop)


def test_gradients_are_those_of_finite_differences():
    def chunked(*given):
        return ssd_chunked(*given, chunk=2)

    assert torch.autograd.gradcheck(chunked, inputs(5), fast_mode=True)


def test_segment_sums_are_sums_of_segments():
    x = torch.randn(3, 7)
    for row, sums in zip(x, segment_sums(x), strict=True):
        for t in range(7):
            for s in range(7):
                expected = sum(row[s + 1 : t + 1].tolist()) if s <= t else -math.inf
                assert sums[t, s].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("reset", [-1e4, -1e30, -math.inf])
def test_a_token_that_erases_all_leaves_the_ones_after_it_exact(reset):
    """Differences of cumulative sums would lose decays of 0.01 beside one of a million."""
    x, log_decay, b, c, state = (tensor.detach().float() for tensor in inputs(31))
    log_decay = log_decay / 100
    log_decay[:, 5] = reset
    given = [tensor.requires_grad_() for tensor in (x, log_decay, b, c, state)]
    y, after = ssd_chunked(*given, chunk=16)
    exact, last = ssd_recurrent(*(tensor.double() for tensor in given))
    close(y, exact.float(), 1e-6)
    close(after, last.float(), 1e-6)
    gradients = torch.autograd.grad(y.sum() + after.sum(), given)
    assert all(gradient.isfinite().all() for gradient in gradients)


@torch.no_grad()
def test_long_texts_stay_exact_in_float32():
    given = [tensor[:1] for tensor in inputs(4096)]
    y, after = ssd_chunked(*(tensor.float() for tensor in given))
    exact, last = ssd_recurrent(*given)
    close(y, exact.float(), 2e-6)
    close(after, last.float(), 2e-6)


def layer(config: Mamba2Config = SIZES) -> Mamba2:
    made = Mamba2(config)
    for parameter in made.parameters():
        if parameter.ndim < 2:
            nn.init.normal_(parameter, std=0.5)
    return made


def peer_config(config: Mamba2Config, **options) -> PeerConfig:
    return PeerConfig(
        hidden_size=config.d_model, num_heads=config.n_heads, head_dim=config.head_size,
        state_size=config.state_size, n_groups=config.n_groups, conv_kernel=config.conv_size,
        chunk_size=config.chunk, expand=config.inner // config.d_model,
        layer_norm_epsilon=config.norm_eps, **options,
    )  # fmt: skip


def peer(ours: Mamba2) -> Mamba2Mixer:
    theirs = Mamba2Mixer(peer_config(ours.config, num_hidden_layers=1), layer_idx=0)
    theirs.load_state_dict(ours.state_dict())
    return theirs.to(ours.out_proj.weight).eval()


@pytest.mark.parametrize("length", [1, 2, 7, 16])
def test_the_layer_equals_transformers(length, place):
    device, dtype, tolerance = place
    tolerance = max(tolerance, 2e-6)  # theirs computes in float32
    ours = layer().to(device, dtype)
    theirs = peer(ours)
    x = torch.randn(2, length, 15).to(device, dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    slope = torch.randn(2, length, 15).to(device, dtype)
    out, expected = ours(x), theirs(y)
    close(out, expected, tolerance)
    out.backward(slope)
    expected.backward(slope)
    close(x.grad, y.grad, tolerance)
    for name, parameter in theirs.named_parameters():
        close(ours.get_parameter(name).grad, parameter.grad, tolerance)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("conv_size", [1, 2, 5])
@torch.no_grad()
def test_other_sizes_equal_transformers_too(groups, conv_size):
    ours = layer(Mamba2Config(11, 2, 11, 13, groups, conv_size, chunk=3))
    x = torch.randn(3, 17, 11)
    close(ours(x), peer(ours)(x), 2e-6)


@torch.no_grad()
def test_prefill_and_steps_equal_transformers_with_its_cache():
    ours = layer()
    theirs, x = peer(ours), torch.randn(2, 19, 15)
    cache = DynamicCache(config=peer_config(SIZES, num_hidden_layers=1))
    y, state = ours.resume(x[:, :9], ours.new_state(2))
    close(y, theirs(x[:, :9], cache_params=cache), 2e-6)
    for t in range(9, 19):
        y_t, state = ours.step(x[:, t], state)
        close(y_t, theirs(x[:, t : t + 1], cache_params=cache)[:, 0], 2e-6)
        close(state.ssm, cache.get_recurrent_state(0), 2e-6)
        window = cache.get_conv_state(0)[:, :, -3:]
        close(state.conv, window.transpose(1, 2), 2e-6)


@pytest.mark.parametrize("cuts", [[19], [1, 18], [2, 1, 16], [7, 7, 5], [1] * 19])
@torch.no_grad()
def test_reading_in_pieces_equals_reading_at_once(cuts, place):
    device, dtype, tolerance = place
    ours = layer().to(device, dtype)
    x = torch.randn(2, 19, 15).to(device, dtype)
    state, pieces = ours.new_state(2), []
    for piece in x.split(cuts, dim=1):
        y, state = ours.resume(piece, state)
        pieces.append(y)
    close(torch.cat(pieces, dim=1), peer(ours)(x), max(tolerance, 2e-6))
    stepwise, last = Recurrent.resume(ours, x, ours.new_state(2))
    close(stepwise, peer(ours)(x), max(tolerance, 2e-6))
    close(state.ssm, last.ssm, tolerance)


def test_a_whole_model_equals_transformers():
    config = peer_config(SIZES, num_hidden_layers=3, vocab_size=53, tie_word_embeddings=True)
    theirs = Mamba2ForCausalLM(config).eval()
    ours = LanguageModel(53, 15, [layer() for _ in range(3)])
    renamed = {"backbone.embeddings.weight": ours.embedding.weight,
               "backbone.norm_f.weight": ours.final_norm.weight,
               "lm_head.weight": ours.embedding.weight}  # fmt: skip
    for i, (norm, mixer) in enumerate(zip(ours.norms, ours.layers, strict=True)):
        nn.init.normal_(norm.weight)
        renamed[f"backbone.layers.{i}.norm.weight"] = norm.weight
        for name, parameter in mixer.named_parameters():
            renamed[f"backbone.layers.{i}.mixer.{name}"] = parameter
    theirs.load_state_dict(renamed)
    ids = torch.randint(53, (2, 11))
    close(ours(ids), theirs(ids).logits, 1e-5)


@torch.no_grad()
def test_the_state_does_not_grow_and_old_states_stay_as_they_were():
    ours, x = layer(), torch.randn(2, 101, 15)
    before = ours.new_state(2)
    _, after = ours.resume(x, before)
    assert state_bytes(before) == state_bytes(after) == 4 * 2 * (6 * 5 * 11 + 3 * (30 + 66))
    assert not before.ssm.any()
    assert after.conv.untyped_storage().nbytes() == 4 * after.conv.numel()  # no view of all 101


@torch.no_grad()
def test_half_precision_keeps_its_state_in_float32():
    ours = layer().bfloat16()
    x = torch.randn(2, 23, 15).bfloat16()
    y, state = ours.resume(x, ours.new_state(2))
    assert y.dtype == state.conv.dtype == torch.bfloat16
    assert state.ssm.dtype == ours.new_state(2).ssm.dtype == torch.float32
    close(y.float(), ours.float()(x.float()), 0.05)


def test_layers_begin_as_the_papers_code_lets_them():
    ours = Mamba2(Mamba2Config(8, 997, 1, 2))
    delta, rate = nn.functional.softplus(ours.dt_bias), ours.A_log.exp()
    assert 1e-3 <= delta.min() < 1.1e-3
    assert 0.09 < delta.max() <= 0.1001
    assert delta.median().item() == pytest.approx(1e-2, rel=0.3)  # uniform in the logarithm
    assert 1 <= rate.min() < 1.1
    assert 15.9 < rate.max() <= 16
    assert ours.D.eq(1).all()


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Mamba2Config(15, 0), "n_heads must be positive, got 0"),
        (lambda: Mamba2Config(15, 6, norm_eps=math.nan), "norm_eps must be positive, got nan"),
        (lambda: Mamba2Config(15, 6, chunk=-1), "chunk must be positive, got -1"),
        (lambda: Mamba2Config(15, 6, n_groups=4), "n_groups=4 does not divide n_heads=6"),
        (lambda: layer()(torch.zeros(2, 0, 15)), r"\(2, 0, 15\)"),
        (lambda: ssd_chunked(*inputs(3), chunk=0), "got 0"),
        (lambda: ssd_chunked(*inputs(0)), r"\(2, 0, 6, 5\)"),
        (lambda: ssd_recurrent(*inputs(0)), r"\(2, 0, 6, 5\)"),
        (lambda: ssd_quadratic(torch.zeros(2, 3, 5, 7), *inputs(3)[1:4]),
         "5 heads do not form 3 equal groups"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_the_gated_norm_squares_in_float32():
    """float16 ends at 65,504: the square of 300 would be infinite, and the norm's output 0."""
    norm = GatedRMSNorm(13, 1, 1e-5)
    x, gate = torch.full((3, 13), 300.0), torch.full((3, 13), 5.0)
    found = norm.half()(x.half(), gate.half())
    torch.testing.assert_close(found, torch.ones(3, 13).half(), atol=1e-3, rtol=0)
