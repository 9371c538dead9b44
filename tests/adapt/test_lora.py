"""LoRA against peft on the same weights: outputs, gradients, training, merged matrices."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.adapt.lora import (
    LoRALinear,
    fold,
    inject_lora,
    lora_layers,
    merge,
    trainable_fraction,
    unmerge,
)
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.fast import FastDecoder
from tutor_lib.train.loop import next_token_loss
from tutor_lib.train.storyteller import load_storyteller

CONFIG = DecoderConfig(
    vocab_size=101, context_length=31, n_layers=2, d_model=24, n_heads=6, n_kv_heads=3, d_ff=37
)
TARGETS = ["q_proj", "v_proj", "down_proj"]
R, ALPHA = 5, 7.0


def decoder() -> Decoder:
    model = Decoder(CONFIG)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def pair(dropout: float = 0.0, zero: bool = False) -> tuple[Decoder, PeftModel]:
    """Ours and peft's, on the same base and with the same A and B."""
    base = decoder()
    config = LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=dropout, target_modules=TARGETS)
    theirs = get_peft_model(copy.deepcopy(base), config)
    ours = inject_lora(base, TARGETS, R, ALPHA, dropout)
    for name, mine, other in factors(ours, theirs):
        if not zero and name == "B":
            nn.init.normal_(other, std=0.2)
        mine.data.copy_(other.data)
    return ours, theirs


def factors(ours: nn.Module, theirs: PeftModel):
    """ "A" or "B", ours, theirs."""
    for path, layer in lora_layers(ours):
        peer = theirs.base_model.model.get_submodule(path)
        yield "A", layer.update.A, peer.lora_A["default"].weight
        yield "B", layer.update.B, peer.lora_B["default"].weight


def ids(batch: int = 3, length: int = 17) -> Tensor:
    return torch.randint(CONFIG.vocab_size, (batch, length))


def randomised(model: nn.Module) -> nn.Module:
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.update.B, std=0.2)
    return model


def test_equals_peft_forward_and_gradients(place):
    device, dtype, tolerance = place
    ours, theirs = (m.to(device, dtype) for m in pair())
    text = ids().to(device)
    out, expected = ours(text), theirs(text)
    largest = expected.abs().max().item()
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance * largest)
    next_token_loss(out, text).backward()
    next_token_loss(expected, text).backward()
    for _, mine, other in factors(ours, theirs):
        largest = other.grad.abs().max().item()
        torch.testing.assert_close(mine.grad, other.grad, rtol=tolerance, atol=tolerance * largest)


def test_equals_peft_in_training_with_dropout():
    """The same masks, step after step: dropout draws once a layer, before A."""
    ours, theirs = (m.double().train() for m in pair(dropout=0.3, zero=True))
    for model in (ours, theirs):
        torch.manual_seed(5)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
        for _ in range(7):
            optimizer.zero_grad()
            text = ids()
            next_token_loss(model(text), text).backward()
            optimizer.step()
    for name, mine, other in factors(ours, theirs):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-12)
        assert name == "A" or mine.abs().max() > 0.01
    text = ids()
    torch.testing.assert_close(ours.eval()(text), theirs.eval()(text), rtol=1e-9, atol=1e-9)
    assert torch.equal(ours(text), ours(text))


@pytest.mark.parametrize("bias", [False, True])
def test_a_layer_is_its_formula(bias):
    base = nn.Linear(13, 11, bias).double()
    layer = LoRALinear(base, 3, 5.0)
    nn.init.normal_(layer.update.B)
    x = torch.randn(2, 7, 13, dtype=torch.float64)
    expected = torch.zeros(2, 7, 11, dtype=torch.float64)
    for i in range(2):
        for t in range(7):
            h = base.weight @ x[i, t] + 5 / 3 * (layer.update.B @ (layer.update.A @ x[i, t]))
            expected[i, t] = h + base.bias if bias else h
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(base(x) + layer.update(x), expected)
    torch.testing.assert_close(functional.linear(x, layer.weight, layer.bias), expected)


def test_the_update_begins_at_nothing_and_A_as_a_linear_layer_does():
    text, base = ids(), decoder()
    expected = base(text)
    assert torch.equal(inject_lora(base, TARGETS, R, ALPHA)(text), expected)
    layer = LoRALinear(nn.Linear(400, 500), 200, 1.0)
    bound = 1 / 400**0.5  # nn.Linear's
    assert 0.99 * bound < layer.update.A.abs().max() <= bound
    assert layer.update.A.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_alpha_over_rank_is_the_scale():
    x = torch.randn(3, 13)
    base = nn.Linear(13, 11)
    one, two = LoRALinear(base, 4, 8.0), LoRALinear(base, 4, 24.0)
    nn.init.normal_(one.update.B)
    two.update.load_state_dict(one.update.state_dict())
    torch.testing.assert_close(two(x) - base(x), 3 * (one(x) - base(x)))


def test_merged_equals_peft_and_unmerged_is_what_it_was():
    ours, theirs = pair()
    before = copy.deepcopy(ours.state_dict())
    text = ids()
    expected = ours(text)
    merge(ours)
    torch.testing.assert_close(ours(text), expected, rtol=1e-4, atol=1e-4)
    for path, layer in lora_layers(ours):
        peer = theirs.base_model.model.get_submodule(path)
        change = peer.get_delta_weight("default")
        torch.testing.assert_close(layer.merged, peer.base_layer.weight + change)
        assert (layer.merged - layer.base.weight).abs().max() > 0.1
    unmerge(ours)
    assert torch.equal(ours(text), expected)
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_plain_subtraction_would_not_bring_the_weight_back():
    """Why W is kept: (W + ΔW) - ΔW differs from W in the last bits."""
    ours, _ = pair()
    layer = ours.blocks[0].attention.q_proj
    weight, delta = layer.base.weight, layer.update.delta()
    assert not torch.equal(weight + delta - delta, weight)


def test_merged_is_one_product_without_dropout_or_gradient():
    layer = LoRALinear(nn.Linear(13, 11), 3, 5.0, dropout=0.5).train()
    nn.init.normal_(layer.update.B)
    layer.merge()
    x = torch.randn(7, 13)
    out = layer(x)
    assert not out.requires_grad
    weight = layer.base.weight + 5 / 3 * (layer.update.B @ layer.update.A)
    torch.testing.assert_close(out, functional.linear(x, weight, layer.base.bias))


def test_folding_leaves_a_plain_model():
    ours, theirs = pair()
    text = ids()
    names = list(decoder().state_dict())
    plain = fold(ours)
    assert list(plain.state_dict()) == names
    assert not any(p.requires_grad for p in plain.parameters())
    torch.testing.assert_close(plain(text), theirs.merge_and_unload()(text), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("merged", [False, True])
def test_the_fast_decoder_packs_the_updated_weights(merged):
    """Whoever reads `q_proj.weight` instead of calling it gets W + ΔW, not a stale W."""
    ours = randomised(inject_lora(decoder(), ["q_proj", "gate_proj"], R, ALPHA))
    if merged:
        merge(ours)
    text = ids()
    close = {"rtol": 1e-3, "atol": 1e-3}
    torch.testing.assert_close(FastDecoder(ours)(text), ours(text).detach(), **close)
    assert (decoder()(text) - ours(text)).abs().max() > 0.1


def test_only_A_and_B_are_trained():
    ours, theirs = pair(zero=True)
    frozen = {n: p.clone() for n, p in ours.named_parameters() if not p.requires_grad}
    assert {n.rpartition(".")[2] for n, p in ours.named_parameters() if p.requires_grad} == {
        "A",
        "B",
    }
    assert "blocks.0.attention.q_proj.base.weight" in frozen
    text = ids()
    optimizer = torch.optim.AdamW(ours.parameters(), lr=0.1, weight_decay=0.1)
    next_token_loss(ours(text), text).backward()
    optimizer.step()
    for name, parameter in ours.named_parameters():
        if name in frozen:
            assert parameter.grad is None
            assert torch.equal(parameter, frozen[name]), name
    trains, total = theirs.get_nb_trainable_parameters()
    assert trainable_fraction(ours) == trains / total
    assert trainable_fraction(decoder()) == 1


def test_a_base_alone_is_frozen_too():
    layer = LoRALinear(nn.Linear(5, 7), 2, 1.0)
    assert not any(p.requires_grad for p in layer.base.parameters())


def test_the_storyteller_takes_an_update():
    model, tokenizer = load_storyteller()
    inject_lora(model, ["q_proj", "v_proj"], 2, 4.0)
    text = torch.tensor([tokenizer.encode("One day Tom found a red ball.")])
    randomised(model)
    merged = copy.deepcopy(model)
    merge(merged)
    torch.testing.assert_close(merged(text), model(text), rtol=1e-4, atol=1e-4)


def test_any_module_with_linear_layers_takes_an_update():
    model = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
    inject_lora(model, ["2"], 3, 1.0)
    assert isinstance(model[0], nn.Linear)
    assert isinstance(model[2], LoRALinear)
    assert model(torch.randn(11, 5)).shape == (11, 3)


def test_half_precision_and_training_mode_are_kept():
    model = inject_lora(decoder().bfloat16().train(), ["q_proj"], 2, 1.0, dropout=0.5)
    layer = model.blocks[1].attention.q_proj
    assert layer.update.A.dtype == torch.bfloat16
    assert layer.update.training
    assert model(ids()).dtype == torch.bfloat16
    assert not inject_lora(decoder(), ["q_proj"], 2, 1.0).blocks[0].attention.q_proj.training


def shared() -> nn.Module:
    layer = nn.Linear(5, 5)
    return nn.ModuleDict({"encoder": nn.Sequential(layer), "decoder": nn.Sequential(layer)})


def injected() -> nn.Module:
    return inject_lora(decoder(), ["q_proj"], 2, 1.0)


def merged_twice() -> None:
    model = injected()
    merge(model)
    merge(model)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: inject_lora(decoder(), ["query"], 2, 1.0),
         "'query'; there are down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"),
        (lambda: inject_lora(decoder(), ["roj"], 2, 1.0), "'roj'"),
        (lambda: inject_lora(decoder(), ["attention"], 2, 1.0), "'attention'"),
        (lambda: inject_lora(decoder(), [], 2, 1.0), r"got \[\]"),
        (lambda: inject_lora(decoder(), "q_proj", 2, 1.0), "got 'q_proj'"),
        (lambda: inject_lora(shared(), ["decoder.0"], 2, 1.0), r"der\.0 and encoder\.0 are one"),
        (lambda: inject_lora(injected(), ["v_proj"], 2, 1.0), "already, at blocks.0.attention.q_"),
        (lambda: inject_lora(decoder(), ["q_proj"], 0, 1.0), "≤ 24, got 0"),
        (lambda: inject_lora(decoder(), ["q_proj", "v_proj"], 13, 1.0), "≤ 12, got 13"),
        (lambda: inject_lora(decoder(), ["q_proj"], 2, 0.0), "got 0.0"),
        (lambda: inject_lora(decoder(), ["q_proj"], 2, float("nan")), "got nan"),
        (lambda: inject_lora(decoder(), ["q_proj"], 2, float("inf")), "got inf"),
        (lambda: inject_lora(decoder(), ["q_proj"], 2, 1.0, 1.0), "got 1.0"),
        (lambda: inject_lora(decoder(), ["q_proj"], 2, 1.0, -0.1), "got -0.1"),
        (lambda: LoRALinear(nn.Linear(3, 5), 4, 1.0), "≤ 3, got 4"),
        (merged_twice, "blocks.0.attention.q_proj is merged already"),
        (lambda: unmerge(injected()), "blocks.0.attention.q_proj is not merged"),
        (lambda: injected().blocks[0].attention.q_proj.unmerge(), "not merged"),
        (lambda: merge(decoder()), "no LoRALinear"),
        (lambda: fold(decoder()), "no LoRALinear"),
        (lambda: trainable_fraction(nn.ReLU()), "no parameters"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("unchecked_shapes")
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_refused_injection_leaves_the_model_as_it_was():
    model = decoder()
    with pytest.raises(ValueError, match="got 13"):
        inject_lora(model, ["q_proj", "v_proj"], 13, 1.0)
    assert all(p.requires_grad for p in model.parameters())
    assert not list(lora_layers(model))


def test_a_refused_merge_leaves_all_layers_as_they_were():
    model = injected()
    model.blocks[1].attention.q_proj.merge()
    with pytest.raises(ValueError, match=r"blocks\.1"):
        merge(model)
    assert model.blocks[0].attention.q_proj.merged is None


def test_merging_a_layer_twice_is_refused():
    layer = LoRALinear(nn.Linear(5, 7), 2, 1.0)
    layer.merge()
    with pytest.raises(ValueError, match="merged already"):
        layer.merge()


def test_loaded_factors_end_a_merge():
    """Once a merged layer went on with the old product after other factors were loaded."""
    one, two = (randomised(inject_lora(decoder(), ["q_proj"], 3, 6.0)) for _ in range(2))
    merge(two)
    two.load_state_dict(one.state_dict())
    x = ids()
    torch.testing.assert_close(two(x), one(x))
