"""LoRA adapters to files and back, in peft's layout: either side reads what the other wrote."""

import json
import math
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tutor_lib.adapt.adapters import Adapter, low_rank

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # what peft puts before the model's own names

# What peft can do and we do not: each of these changes the numbers that come out.
PLAIN = {"bias": "none", "use_dora": False, "fan_in_fan_out": False, "lora_bias": False,
         "rank_pattern": {}, "alpha_pattern": {}, "modules_to_save": None,
         "layer_replication": None, "use_qalora": False, "use_bdlora": False,
         "target_parameters": None, "alora_invocation_tokens": None, "arrow_config": None,
         "kasa_config": None, "monteclora_config": None, "velora_config": None}  # fmt: skip
# How A and B may have begun. PiSSA, OLoRA and others begin by taking something from W, which the
# base of whoever loads the file still has.
STARTS = (True, False, "gaussian", "orthogonal")


def save_adapter(adapter: Adapter, folder: str | Path) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`.

    Raises ValueError if the adapter is empty, or its rank, α or dropout is not one for all.
    """
    kinds = {(u.rank, u.alpha, u.dropout) for u in adapter.values()}
    if len(kinds) != 1:
        raise ValueError(f"one rank, alpha and dropout make a file, got {sorted(kinds)}")
    rank, alpha, dropout = kinds.pop()
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "lora_dropout": dropout,
              "target_modules": sorted(adapter), "inference_mode": True}  # fmt: skip
    tensors = {}
    for path, update in adapter.items():
        for part, tensor in (("A", update.A), ("B", update.B)):
            tensors[f"{PREFIX}{path}.lora_{part}.weight"] = tensor.detach().cpu().contiguous()
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(config, indent=1) + "\n")


def load_adapter(folder: str | Path) -> Adapter:
    """Read what `save_adapter` or peft wrote; `put_adapter` then lets it work in a model.

    peft's `use_rslora`, the scale α/√R of Kalajdzievski 2023 (arXiv:2312.03732), becomes an α
    that is √R times as large.

    Raises ValueError if the folder holds no such adapter, one that is more than LoRA's A and
    B, or tensors that do not fit each other.
    """
    folder = Path(folder)
    config = _config(folder / CONFIG)
    alpha, dropout = float(config["lora_alpha"]), float(config["lora_dropout"])
    if config.get("use_rslora"):
        alpha *= math.sqrt(config["r"])
    adapter = {}
    for path, (A, B) in _factors(folder / WEIGHTS).items():
        if A.ndim != 2 or len(A) != config["r"] or B.ndim != 2 or B.size(1) != config["r"]:
            shapes = f"A is {tuple(A.shape)} and B {tuple(B.shape)}"
            raise ValueError(f"{folder}: {shapes} at {path}, but the rank is {config['r']}")
        adapter[path] = low_rank(A, B, alpha, dropout)
    return adapter


def _config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict) or config.get("peft_type") != "LORA":
        raise ValueError(f"{path} is not the config of a LoRA adapter")
    for name, plain in PLAIN.items():
        if (found := config.get(name, plain)) != plain and found:
            raise ValueError(f"{path} has {name}={found!r}, which is not plain LoRA")
    if (start := config.get("init_lora_weights", True)) not in STARTS:
        raise ValueError(f"{path} has init_lora_weights={start!r}, which may have changed the base")
    config = {"lora_dropout": 0.0} | config
    for name, kinds in (("r", [int]), ("lora_alpha", [int, float]), ("lora_dropout", [int, float])):
        if type(config.get(name)) not in kinds:  # a bool is no number
            raise ValueError(f"{path} needs a number {name}, got {config.get(name)!r}")
    return config


def _factors(path: Path) -> dict[str, tuple[Tensor, Tensor]]:
    """A and B by the path of their layer."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as safetensors: {error}") from error
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        place, _, part = name.removesuffix(".weight").rpartition(".lora_")
        if not (name.startswith(PREFIX) and part in ("A", "B") and tensor.is_floating_point()):
            raise ValueError(f"{path} holds {name}, which is no A or B of LoRA")
        found.setdefault(place.removeprefix(PREFIX), {})[part] = tensor
    for place, parts in found.items():
        if len(parts) != 2:
            raise ValueError(f"{path} holds only the {min(parts)} of {place}")
    return {place: (parts["A"], parts["B"]) for place, parts in found.items()}
