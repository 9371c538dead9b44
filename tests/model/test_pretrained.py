"""Checkpoint folders that are not as they should be."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from tutor_lib.model.checkpoint_config import read_config
from tutor_lib.model.config import DecoderConfig, ExpertSizes, Family
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import GPT2
from tutor_lib.model.pretrained import load_pretrained, save_pretrained

CONFIG = DecoderConfig(53, 31, 2, 60, 6, 2, 37, tied=False)
IDS = torch.randint(53, (2, 29), generator=torch.Generator().manual_seed(7))
NORM = "model.layers.1.input_layernorm.weight"


@pytest.fixture
def folder(tmp_path):
    save_pretrained(Decoder(CONFIG), tmp_path)
    return tmp_path


def test_shards_are_put_together_again(tmp_path):
    model = Decoder(CONFIG).eval()
    save_pretrained(model, tmp_path, max_shard_bytes=20_000)
    shards = sorted(tmp_path.glob("*.safetensors"))
    assert len(shards) > 5
    assert all(len(load_file(s)) == 1 or s.stat().st_size < 21_000 for s in shards)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(load_pretrained(tmp_path)(IDS), model(IDS))
        assert torch.allclose(theirs(IDS).logits, model(IDS), atol=1e-5)
    theirs.save_pretrained(tmp_path / "again", max_shard_size="20KB")
    assert (tmp_path / "again" / "model.safetensors.index.json").exists()
    assert torch.equal(load_pretrained(tmp_path / "again")(IDS), model(IDS))


def test_dtype_is_the_files_or_what_was_asked(tmp_path):
    save_pretrained(Decoder(CONFIG).to(torch.bfloat16), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    for asked, expected in ((None, torch.bfloat16), (torch.float32, torch.float32)):
        model = load_pretrained(tmp_path, asked)
        assert {p.dtype for p in model.parameters()} == {expected}
        assert model.blocks[0].attention.rotary.angles.dtype == torch.float32


def test_the_first_gpt2_checkpoints_lack_a_prefix_and_hold_masks(tmp_path):
    peer = GPT2LMHeadModel(GPT2Config(vocab_size=53, n_positions=31, n_embd=60, n_layer=2,
                                      n_head=5)).eval()  # fmt: skip
    peer.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    older = {name.removeprefix("transformer."): t for name, t in tensors.items()}
    older["h.0.attn.bias"] = torch.ones(1, 1, 31, 31)
    older["lm_head.weight"] = older["wte.weight"].clone()
    save_file(older, tmp_path / "model.safetensors")
    with torch.no_grad():
        assert torch.allclose(load_pretrained(tmp_path)(IDS), peer(IDS).logits, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop(NORM), f"lacks {NORM}"),
        (lambda w: w.update(extra=torch.zeros(1)), "does not know: extra"),
        (
            lambda w: w.update({NORM: torch.zeros(59)}),
            rf"{NORM} is \(59,\) in the file, \(60,\) in the model",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(folder, change, message):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(ValueError, match=message):
        load_pretrained(folder)


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("it was unpickled",))


def test_pickles_are_refused_unopened(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"pytorch_model\.bin is a pickle, which could run any"):
        load_pretrained(folder)
    (folder / "model.safetensors").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match=r"model\.safetensors is not a safetensors file"):
        load_pretrained(folder)


def test_broken_folders_are_named(folder, tmp_path):
    index = folder / "model.safetensors.index.json"
    for text, message in (
        ('{"weight_map": {"a": "../../secret"}}', r"names a file outside the folder: \.\./"),
        ('{"weight_map": {"a": "gone.safetensors"}}', "gone.safetensors is not a safetensors"),
        ('{"weight_map": ["a"]}', "has no weight_map"),
    ):
        index.write_text(text)
        with pytest.raises(ValueError, match=message):
            load_pretrained(folder)
    index.unlink()
    for text, message in (
        ("{", "is not JSON"),
        ("[]", "no JSON object"),
        ("{}", "model_type None"),
    ):
        (folder / "config.json").write_text(text)
        with pytest.raises(ValueError, match=message):
            load_pretrained(folder)
    with pytest.raises(ValueError, match=r"nowhere.config\.json is missing"):
        load_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "bloom"}, "model_type 'bloom' is none of gpt2, llama"),
        ({"hidden_act": "relu"}, "hidden_act='relu' is not supported, only 'silu'"),
        ({"mlp_bias": True}, "mlp_bias=True is not supported"),
        (
            {"model_type": "qwen2", "attention_bias": True},
            "attention_bias=True is not supported in",
        ),
        ({"rope_parameters": {"rope_type": "su", "rope_theta": 1.0}}, "rope_type 'su'"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1.0}}, "lacks 'factor'"),
        ({"hidden_size": 0}, "d_model must be positive, got 0"),
        ({"num_hidden_layers": "many"}, "num_hidden_layers='many' is not a number"),
    ],
)
def test_configs_that_ask_for_other_models_are_named(folder, change, message):
    found = json.loads((folder / "config.json").read_text())
    with pytest.raises(ValueError, match=message):
        read_config(found | change)
    del found["vocab_size"]
    with pytest.raises(ValueError, match=r"config\.json of a llama lacks 'vocab_size'"):
        read_config(found)


def test_the_older_way_to_write_rope_is_read(folder):
    found = json.loads((folder / "config.json").read_text())
    del found["rope_parameters"]
    older = {"rope_theta": 97.0, "rope_scaling": {"type": "linear", "factor": 3.0}}
    config = read_config(found | older)
    assert (config.rope_base, config.rope_scaling.factor) == (97.0, 3.0)
    assert read_config(found).rope_base == 10_000.0


def test_decoders_that_no_checkpoint_holds_are_named(tmp_path):
    for config in (
        DecoderConfig(53, 31, 2, 60, 6, 2, 37, family=Family(o_bias=True)),
        DecoderConfig(53, 31, 2, 60, 6, 2, 37, windows=(7, 5)),
        DecoderConfig(53, 31, 2, 60, 6, 3, 37, family=GPT2),
        DecoderConfig(53, 31, 2, 60, 6, 2, 37, experts=ExpertSizes(5, 2, 37, n_shared=1)),
    ):
        with pytest.raises(ValueError, match="checkpoint cannot say all of DecoderConfig"):
            save_pretrained(Decoder(config), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="max_shard_bytes must be positive, got 0"):
        save_pretrained(Decoder(CONFIG), tmp_path, max_shard_bytes=0)
