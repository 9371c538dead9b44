"""The LoRA lab's references against peft, bitsandbytes and counting."""

import math

import pytest
import torch
from torch import nn

from tutor_lib.checks.draw import Draw
from tutor_lib.checks.lora import LAB
from tutor_lib.checks.lora.inject_parts import Toy
from tutor_lib.checks.lora.layer import LoRALinear
from tutor_lib.checks.lora.nf4 import NF4_LEVELS

REFERENCE = {name: exercise.reference for name, exercise in LAB.exercises.items()}
TARGETS, R, ALPHA = ("q_proj", "v_proj"), 3, 7


def filled(model):
    """A and B hold numbers, the same ones in each copy."""
    torch.manual_seed(5)
    for layer in model.modules():
        if isinstance(layer, LoRALinear):
            nn.init.normal_(layer.A)
            nn.init.normal_(layer.B)
    return model


@pytest.fixture
def ours():
    return filled(REFERENCE["inject_lora"](Toy(13, 7, 5), TARGETS, R, ALPHA))


@pytest.fixture
def pefts(ours):
    """The same model, adapted by peft, with our A and B."""
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=R, lora_alpha=ALPHA, target_modules=list(TARGETS))
    model = peft.get_peft_model(Toy(13, 7, 5), config)
    with torch.no_grad():
        for path, layer in ours.named_modules():
            if isinstance(layer, LoRALinear):
                theirs = model.base_model.model.get_submodule(path)
                theirs.lora_A["default"].weight.copy_(layer.A)
                theirs.lora_B["default"].weight.copy_(layer.B)
    return model


IDS = torch.arange(12).view(3, 4)


def test_the_adapted_model_is_pefts(ours, pefts):
    plain = Toy(13, 7, 5)(IDS)
    torch.testing.assert_close(ours(IDS), pefts(IDS))
    assert (ours(IDS) - plain).abs().max() > 0.1


def test_merged_and_unmerged_it_is_pefts(ours, pefts):
    REFERENCE["merge"](ours)
    pefts.merge_adapter()
    theirs = dict(pefts.base_model.model.named_modules())
    for path, layer in ours.named_modules():
        if isinstance(layer, LoRALinear):
            torch.testing.assert_close(layer.base.weight, theirs[path].base_layer.weight)
    torch.testing.assert_close(ours(IDS), pefts(IDS))
    REFERENCE["unmerge"](ours)
    pefts.unmerge_adapter()
    torch.testing.assert_close(ours(IDS), pefts(IDS))


def test_the_trainable_fraction_is_what_peft_counts(ours, pefts):
    trained, total = pefts.get_nb_trainable_parameters()
    assert REFERENCE["trainable_fraction"](ours) == trained / total


def test_the_levels_are_those_of_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional")
    theirs = functional.get_4bit_type("nf4", device="cpu")
    torch.testing.assert_close(NF4_LEVELS, theirs, rtol=0, atol=1e-6)


def test_codes_and_scales_are_those_of_bitsandbytes():
    functional = pytest.importorskip("bitsandbytes.functional")
    x = Draw(torch.Generator().manual_seed(0))(8, 64)
    packed, state = functional.quantize_4bit(x, blocksize=64, quant_type="nf4")
    codes, scales = REFERENCE["quantize_nf4"](x)
    torch.testing.assert_close(scales, state.absmax)
    theirs = torch.stack([packed.flatten() >> 4, packed.flatten() & 15], 1).view(8, 64)
    assert torch.equal(codes, theirs)
    back = REFERENCE["dequantize_nf4"](codes, scales, x.shape)
    torch.testing.assert_close(back, functional.dequantize_4bit(packed, state))


@pytest.mark.parametrize("seed", range(20))
def test_no_weight_lies_where_rounding_decides(seed):
    """A right answer that divides otherwise could lose a point by the last digit."""
    for (x,) in LAB.parts["quantize_nf4"].cases(Draw(torch.Generator().manual_seed(seed))):
        flat = x.double().flatten()
        flat = torch.cat([flat, flat.new_zeros(-len(flat) % 64)]).view(-1, 64)
        unit = flat / flat.abs().amax(1, keepdim=True)
        middles = (NF4_LEVELS[1:] + NF4_LEVELS[:-1]).double() / 2
        assert (unit[..., None] - middles).abs().min() > 1e-4


def test_gpt2s_share_is_as_published():
    """LoRA on GPT-2 with r = 8, on q and v: 294,912 numbers, 0.236 % with them, 0.237 % without."""
    model = nn.Module()
    model.frozen = nn.Parameter(torch.empty(124_439_808, device="meta"), requires_grad=False)
    shapes = [(8, 768), (768, 8)] * 2 * 12
    model.update = nn.ParameterList([torch.empty(shape, device="meta") for shape in shapes])
    fraction = REFERENCE["trainable_fraction"](model)
    assert math.isclose(fraction, 294_912 / 124_734_720)
    assert f"{fraction:.3%}" == "0.236%"
    assert f"{294_912 / 124_439_808:.3%}" == "0.237%"


@pytest.mark.parametrize("name", ["ready_made", "called"])
def test_the_librarys_own_is_no_answer(name):
    answers = {
        "ready_made": "from tutor_lib.adapt.lora import trainable_fraction as f",
        "called": "import tutor_lib.adapt.lora as l\ndef f(m): return l.trainable_fraction(m)",
    }
    notebook = {"__name__": "notebook"}
    exec(answers[name], notebook)
    with pytest.raises(AssertionError, match=r"finished\s+thing"):
        LAB.check("trainable_fraction", notebook["f"])
