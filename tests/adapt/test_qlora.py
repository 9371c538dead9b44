"""QLoRA: a base in four bits, against one that holds the same numbers in full."""

import copy
import math

import bitsandbytes as bnb
import pytest
import torch
from torch import Tensor, nn

from tutor_lib.adapt.lora import LoRALinear, fold, inject_lora, merge, trainable_fraction, unmerge
from tutor_lib.adapt.qlora import NF4Linear, bits_per_parameter, quantize_model
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.fast import FastDecoder
from tutor_lib.train.loop import next_token_loss

CONFIG = DecoderConfig(
    vocab_size=101, context_length=31, n_layers=2, d_model=24, n_heads=6, n_kv_heads=3, d_ff=37
)
TARGETS = ["q_proj", "v_proj", "down_proj"]


def decoder() -> Decoder:
    torch.manual_seed(1)
    model = Decoder(CONFIG)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def linear(bias: bool = True) -> nn.Linear:
    return nn.Linear(130, 67, bias)


def in_full(layer: NF4Linear) -> nn.Linear:
    """The same numbers in a linear layer of PyTorch."""
    full = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    full.weight.data = layer.weight.clone()
    if layer.bias is not None:
        full.bias.data = layer.bias.clone()
    return full.to(layer.weight.dtype)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("double", [False, True])
def test_equals_lora_on_the_dequantised_weight(double, bias, place):
    device, dtype, tolerance = place
    base = NF4Linear(linear(bias).to(device, dtype), double)
    ours, theirs = LoRALinear(base, 3, 5.0), LoRALinear(in_full(base).to(device), 3, 5.0)
    nn.init.normal_(ours.update.B)
    theirs.update.load_state_dict(ours.update.state_dict())
    x = torch.randn(2, 5, 130).to(device, dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    slope = torch.randn(2, 5, 67).to(device, dtype)
    close = {"rtol": tolerance, "atol": 10 * tolerance}
    torch.testing.assert_close(ours(x), theirs(y), **close)
    ours(x).backward(slope)
    theirs(y).backward(slope)
    torch.testing.assert_close(x.grad, y.grad, **close)
    torch.testing.assert_close(ours.update.A.grad, theirs.update.A.grad, **close)
    torch.testing.assert_close(ours.update.B.grad, theirs.update.B.grad, **close)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_equals_bitsandbytes_layer(dtype):
    ours = linear().to(dtype)
    theirs = bnb.nn.Linear4bit(
        130, 67, compute_dtype=dtype, compress_statistics=False, quant_type="nf4"
    )
    theirs.load_state_dict({k: v.clone() for k, v in ours.state_dict().items()})
    theirs = theirs.to(dtype).to("cpu")
    x = torch.randn(5, 130).to(dtype).requires_grad_()
    y = x.detach().clone().requires_grad_()
    quantized = NF4Linear(ours, double=False)
    assert torch.equal(quantized.packed, theirs.weight.data.flatten())
    out, expected = quantized(x), theirs(y)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)
    out.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=tolerance, atol=tolerance)


def test_a_decoder_trains_as_on_the_dequantised_base():
    ours = quantize_model(decoder(), TARGETS)
    theirs = copy.deepcopy(ours)
    for path, layer in list(theirs.named_modules()):
        if isinstance(layer, NF4Linear):
            theirs.get_submodule(path.rpartition(".")[0]).__setattr__(path.rpartition(".")[2],
                                                                      in_full(layer))  # fmt: skip
    losses = []
    for model in (ours, theirs):
        torch.manual_seed(5)
        inject_lora(model, TARGETS, 3, 6.0)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
        for _ in range(5):
            ids = torch.randint(101, (3, 17))
            loss = next_token_loss(model(ids), ids)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    assert trainable_fraction(ours) == trainable_fraction(theirs)


def test_the_weight_is_stored_in_four_bits_and_kept_nowhere_else():
    layer = NF4Linear(nn.Linear(512, 256, bias=False))
    stored = sum(t.nbytes for t in [*layer.parameters(), *layer.buffers()])
    assert 8 * stored / (512 * 256) == pytest.approx(4.127, abs=0.001)
    kept: list[Tensor] = []
    x = torch.randn(3, 512, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        layer(x)
    assert not [t for t in kept if t.numel() >= 512 * 256]


def test_no_change_of_dtype_rounds_the_scales():
    layer = NF4Linear(linear())
    weight = layer.weight
    layer.to(torch.bfloat16)
    assert torch.equal(layer.weight, weight.bfloat16())
    assert torch.equal(layer.to(torch.float32).weight, weight)
    layer.to(torch.bfloat16)
    assert layer(torch.randn(3, 130).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("double", [False, True])
def test_a_state_dict_brings_the_weight_back(double):
    one, two = (NF4Linear(linear(), double) for _ in range(2))
    assert not torch.equal(one.weight, two.weight)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one.weight, two.weight)


def test_bits_of_a_whole_model():
    model = decoder()
    assert bits_per_parameter(model) == 32
    numbers = sum(p.numel() for p in model.parameters())
    quantize_model(model, TARGETS, double=False)
    quantized = [m for m in model.modules() if isinstance(m, NF4Linear)]
    assert len(quantized) == 6
    small = sum(m.in_features * m.out_features for m in quantized)
    bits = sum(8 * (m.packed.nbytes + m.scales.nbytes) for m in quantized)
    assert bits_per_parameter(model) == pytest.approx((32 * (numbers - small) + bits) / numbers)
    assert bits < 4.8 * small  # 4.5, but for blocks that are not full


def test_merging_and_folding_give_matrices_in_full():
    model = inject_lora(quantize_model(decoder(), TARGETS), TARGETS, 3, 6.0)
    layer = model.blocks[0].attention.q_proj
    nn.init.normal_(layer.update.B)
    ids = torch.randint(101, (3, 17))
    expected = model(ids)
    close = {"rtol": 1e-4, "atol": 1e-4}
    merge(model)
    torch.testing.assert_close(model(ids), expected, **close)
    unmerge(model)
    assert torch.equal(model(ids), expected)
    torch.testing.assert_close(FastDecoder(model)(ids), expected.detach(), rtol=1e-3, atol=1e-3)
    fold(model)
    assert not [m for m in model.modules() if isinstance(m, NF4Linear | LoRALinear)]
    torch.testing.assert_close(model(ids), expected, **close)


def with_nan() -> nn.Module:
    model = decoder()
    model.blocks[1].attention.q_proj.weight.data[2, 3] = float("nan")
    return model


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantize_model(decoder(), ["query"]), "'query'; there are down_proj"),
        (lambda: quantize_model(quantize_model(decoder(), ["q_proj"]), ["q_proj"]),
         r"blocks\.0\.attention\.q_proj is no nn\.Linear but NF4Linear"),
        (lambda: quantize_model(inject_lora(decoder(), ["q_proj"], 2, 1.0), ["q_proj"]),
         "but LoRALinear"),
        (lambda: quantize_model(with_nan(), ["q_proj"]), r"nan at \[2, 3\]"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("late", [False, True])
def test_lora_follows_a_base_to_bfloat16(late):
    """Four bits know no dtype: what they are made into must be that of the rest."""
    model = nn.Sequential(nn.Linear(130, 67))
    quantize_model(model, ["0"])
    if late:
        inject_lora(model, ["0"], 3, 6.0).to(torch.bfloat16)
    else:
        inject_lora(model.to(torch.bfloat16), ["0"], 3, 6.0)
    x = torch.randn(5, 130, dtype=torch.bfloat16)
    expected = model(x)
    merge(model)
    torch.testing.assert_close(model(x), expected, atol=0.05, rtol=0.05)


def test_a_refused_model_is_as_trainable_as_before():
    model = nn.Sequential(nn.Linear(130, 67), nn.Linear(67, 5))
    with torch.no_grad():
        model[1].weight[2, 3] = math.nan
    with pytest.raises(ValueError, match=r"nan at \[2, 3\]"):
        quantize_model(model, ["0", "1"])
    assert all(p.requires_grad for p in model.parameters())


def test_a_refused_model_is_left_as_it_was():
    model = with_nan()
    with pytest.raises(ValueError, match="nan"):
        quantize_model(model, ["q_proj"])
    assert not [m for m in model.modules() if isinstance(m, NF4Linear)]
