"""Several adapters on one base, and their files: peft reads ours, we read peft's."""

import copy
import json
import math

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tutor_lib.adapt.adapter_files import CONFIG, WEIGHTS, load_adapter, save_adapter
from tutor_lib.adapt.adapters import Adapter, Adapters, adapter_of, combine, low_rank, put_adapter
from tutor_lib.adapt.lora import inject_lora, lora_layers, merge, unmerge


def base() -> nn.Module:
    torch.manual_seed(3)
    first = nn.ModuleDict({"q_proj": nn.Linear(13, 11), "v_proj": nn.Linear(11, 7)})
    return Chain(nn.ModuleList([first, nn.ModuleDict({"q_proj": nn.Linear(7, 5)})]))


class Chain(nn.Module):
    def __init__(self, layers: nn.ModuleList) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        for group in self.layers:
            for layer in group.values():
                x = layer(x).tanh()
        return x


def randomised(adapter: Adapter) -> Adapter:
    for update in adapter.values():
        nn.init.normal_(update.A)
        nn.init.normal_(update.B)
    return adapter


def several() -> Adapters:
    adapters = Adapters(base())
    adapters.add("pirate", ["q_proj", "v_proj"], 3, 7.0)
    adapters.add("poem", ["q_proj"], 2, 5.0)
    for adapter in adapters.by_name.values():
        randomised(adapter)
    return adapters


X = torch.linspace(-2, 2, 4 * 13).view(4, 13)


def test_the_one_at_work_changes_the_output():
    adapters = several()
    model = adapters.model
    outputs = {}
    for name in ("pirate", "poem"):
        adapters.activate(name)
        outputs[name] = model(X)
        alone = base()
        put_adapter(alone, adapters[name])
        assert torch.equal(outputs[name], alone(X))
    adapters.deactivate()
    assert torch.equal(model(X), base()(X))
    assert not torch.equal(outputs["pirate"], outputs["poem"])
    adapters.activate("pirate")
    assert torch.equal(model(X), outputs["pirate"])


def test_training_one_leaves_the_others_and_the_base():
    adapters = several()
    before = copy.deepcopy(adapters.by_name)
    adapters.activate("pirate")
    optimizer = torch.optim.AdamW(adapters.model.parameters(), lr=0.1)
    adapters.model(X).sum().backward()
    optimizer.step()
    changed = [(n, p) for n, p in before.items() for k, u in p.items()
               if not torch.equal(u.A, adapters[n][k].A)]  # fmt: skip
    assert {name for name, _ in changed} == {"pirate"}
    adapters.deactivate()
    assert torch.equal(adapters.model(X), base()(X))


def test_a_combination_is_the_weighted_sum_of_the_changes():
    adapters = several()
    adapters.combine("both", {"pirate": 0.25, "poem": -1.5})
    adapters.activate("both")
    for path, layer in lora_layers(adapters.model):
        change = 0.25 * adapters["pirate"][path].delta()
        if path.endswith("q_proj"):
            change = change - 1.5 * adapters["poem"][path].delta()
        torch.testing.assert_close(layer.weight, layer.base.weight + change)


def test_what_was_injected_is_the_default():
    model = inject_lora(base(), ["q_proj"], 2, 1.0)
    adapters = Adapters(model)
    assert list(adapters.by_name) == ["default"]
    assert [p.requires_grad for p in adapters["default"]["layers.0.q_proj"].parameters()] == [
        True
    ] * 2
    adapters.add("other", ["q_proj"], 2, 1.0)
    assert adapter_of(model) == adapters["other"]


def test_dropout_and_mode_follow_the_model():
    adapters = Adapters(base().eval())
    adapters.add("pirate", ["q_proj"], 2, 1.0, dropout=0.5)
    randomised(adapters["pirate"])
    assert torch.equal(adapters.model(X), adapters.model(X))
    adapters.deactivate()
    adapters.model.train()
    adapters.activate("pirate")
    assert not torch.equal(adapters.model(X), adapters.model(X))


def test_a_merged_model_takes_no_other_adapter():
    adapters = several()
    merge(adapters.model)
    for call in (adapters.deactivate, lambda: adapters.activate("pirate"),
                 lambda: adapters.add("new", ["q_proj"], 1, 1.0)):  # fmt: skip
        with pytest.raises(ValueError, match="is merged; unmerge"):
            call()
    assert "new" not in adapters.by_name
    unmerge(adapters.model)
    adapters.activate("pirate")


def test_merging_the_base_alone_is_the_base():
    adapters = several()
    adapters.deactivate()
    names = list(adapters.model.state_dict())
    merge(adapters.model)
    assert list(adapters.model.state_dict()) == names
    torch.testing.assert_close(adapters.model(X), base()(X))
    unmerge(adapters.model)
    assert torch.equal(adapters.model(X), base()(X))


def test_peft_reads_ours(tmp_path):
    adapters = several()
    for name in ("pirate", "poem"):
        adapters.activate(name)
        save_adapter(adapters[name], tmp_path / name)
        theirs = PeftModel.from_pretrained(base(), str(tmp_path / name))
        torch.testing.assert_close(theirs(X), adapters.model(X), rtol=1e-5, atol=1e-6)
        assert not torch.equal(theirs(X), base()(X))


@pytest.mark.parametrize("rank_stabilized", [False, True])
def test_we_read_pefts(tmp_path, rank_stabilized):
    config = LoraConfig(r=3, lora_alpha=7, target_modules=["q_proj"], lora_dropout=0.25,
                        use_rslora=rank_stabilized, init_lora_weights=False)  # fmt: skip
    theirs = get_peft_model(base(), config).eval()
    theirs.save_pretrained(str(tmp_path))
    ours, adapter = base().eval(), load_adapter(tmp_path)
    put_adapter(ours, adapter)
    torch.testing.assert_close(ours(X), theirs(X), rtol=1e-5, atol=1e-6)
    update = adapter["layers.1.q_proj"]
    assert update.dropout == 0.25
    assert update.scale == pytest.approx(7 / math.sqrt(3) if rank_stabilized else 7 / 3)


def test_the_files_have_pefts_names_and_come_back_bit_for_bit(tmp_path):
    theirs = get_peft_model(base(), LoraConfig(r=3, target_modules=["q_proj", "v_proj"]))
    theirs.save_pretrained(str(tmp_path / "theirs"))
    adapters = several()
    save_adapter(adapters["pirate"], tmp_path / "ours")
    ours, peers = (load_file(tmp_path / who / WEIGHTS) for who in ("ours", "theirs"))
    assert {n: t.shape for n, t in ours.items()} == {n: t.shape for n, t in peers.items()}
    known = json.loads((tmp_path / "theirs" / CONFIG).read_text())
    assert json.loads((tmp_path / "ours" / CONFIG).read_text()).keys() <= known.keys()
    for path, update in load_adapter(tmp_path / "ours").items():
        assert torch.equal(update.A, adapters["pirate"][path].A)
        assert torch.equal(update.B, adapters["pirate"][path].B)
        assert update.alpha == 7.0


NAME = "base_model.model.layers.0.q_proj.lora_{}.weight"
GOOD = {NAME.format("A"): torch.zeros(3, 13), NAME.format("B"): torch.zeros(11, 3)}


@pytest.mark.parametrize(
    ("changes", "tensors", "message"),
    [
        ({"use_dora": True}, GOOD, "use_dora=True"),
        ({"bias": "all"}, GOOD, "bias='all'"),
        ({"init_lora_weights": "pissa"}, GOOD, "init_lora_weights='pissa'"),
        ({"target_parameters": ["gate"]}, GOOD, "target_parameters="),
        ({"alpha_pattern": {"q_proj": 3}}, GOOD, "alpha_pattern="),
        ({"peft_type": "IA3"}, GOOD, "not the config of a LoRA adapter"),
        ({"r": "3"}, GOOD, "needs a number r, got '3'"),
        ({"r": True}, GOOD, "needs a number r, got True"),
        ({"lora_alpha": None}, GOOD, "needs a number lora_alpha, got None"),
        ({"lora_alpha": -1}, GOOD, r"got -1\.0"),
        ({"lora_alpha": 1e999}, GOOD, "got inf"),
        ({"lora_dropout": None}, GOOD, "needs a number lora_dropout, got None"),
        ({"lora_dropout": 1}, GOOD, r"got 1\.0"),
        ({"r": 5}, GOOD, "the rank is 5"),
        ({"r": 0}, GOOD, "the rank is 0"),
        ({}, {NAME.format("A"): torch.zeros(3, 13)}, "only the A of layers.0.q_proj"),
        ({}, GOOD | {NAME.format("B"): torch.zeros(3, 11)}, r"B \(3, 11\)"),
        ({}, GOOD | {NAME.format("B"): torch.zeros(3)}, r"B \(3,\)"),
        (
            {},
            GOOD | {"base_model.model.lm_head.weight": torch.zeros(2)},
            "holds base_model.model.lm",
        ),
        ({}, GOOD | {NAME.format("B"): torch.zeros(11, 3, dtype=torch.int8)}, "no A or B"),
        ({}, GOOD | {"q_proj.lora_A.weight": torch.zeros(2)}, "holds q_proj.lora_A"),
    ],
)
def test_a_bad_file_is_named(changes, tensors, message, tmp_path):
    config = {"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": ["q_proj"]} | changes
    (tmp_path / CONFIG).write_text(json.dumps(config))
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(ValueError, match=message):
        load_adapter(tmp_path)


def test_files_that_are_not_there_or_no_such_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        load_adapter(tmp_path)
    (tmp_path / CONFIG).write_bytes(b"\xff{")
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        load_adapter(tmp_path)
    (tmp_path / CONFIG).write_text("[" * 100_000)
    with pytest.raises(ValueError, match="cannot be read as JSON"):
        load_adapter(tmp_path)
    (tmp_path / CONFIG).write_text('{"peft_type": "LORA", "r": 3, "lora_alpha": 6}')
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load_adapter(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"no tensors")
    with pytest.raises(ValueError, match="cannot be read as safetensors"):
        load_adapter(tmp_path)


def adapter(path: str, d_in: int = 13, d_out: int = 11) -> Adapter:
    return {path: low_rank(torch.zeros(2, d_in), torch.zeros(d_out, 2), 1.0)}


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: several().activate("prose"), "'prose'; there are pirate, poem"),
        (lambda: Adapters(base()).activate("prose"), "there are none"),
        (lambda: several().add("poem", ["q_proj"], 1, 1.0), "'poem' already"),
        (lambda: several().add("new", ["k_proj"], 1, 1.0), "'k_proj'; there are q_proj, v_proj"),
        (lambda: several().combine("both", {"poem": 1.0, "prose": 1.0}), "'prose'"),
        (lambda: several().combine("both", {}), "nothing to combine"),
        (lambda: combine([(several()["pirate"], 1.0)] * 2), "≤ 5, got 6"),
        (lambda: put_adapter(base(), adapter("layers.2.q_proj")), "no linear layer layers.2"),
        (lambda: put_adapter(base(), adapter("layers.0")), "no linear layer layers.0"),
        (lambda: put_adapter(base(), adapter("layers.0.q_proj", 11, 13)),
         r"\(13, 11\) does not fit layers.0.q_proj, which is \(11, 13\)"),
        (lambda: low_rank(torch.zeros(2, 5), torch.zeros(2, 5), 1.0), "make no product"),
        (lambda: save_adapter({}, "nowhere"), r"got \[\]"),
        (lambda: save_adapter({**adapter("a"), "b": low_rank(torch.zeros(1, 5), torch.zeros(5, 1),
                                                              1.0)}, "nowhere"), "one rank"),
    ],
)  # fmt: skip
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
