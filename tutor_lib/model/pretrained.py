"""Weights to files and back: our own in one file, and Hugging Face checkpoint folders.

All are safetensors. Nothing is ever unpickled: a pickle can run any code.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.model.checkpoint_config import read_config, write_config
from tutor_lib.model.checkpoint_names import full_name, is_computed, rules
from tutor_lib.model.decoder import Decoder

WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def save_weights(model: nn.Module, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the parameters of `model`, in `dtype`, to a safetensors file."""
    tensors = {name: p.detach().to("cpu", dtype) for name, p in model.state_dict().items()}
    save_file(tensors, path)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fill `model` from a safetensors file, in the model's own dtype and on its device.

    Raises ValueError if the file is no safetensors file, or a tensor is missing, unknown or of
    another shape; the model is then left as it was.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    expected = {name: p.shape for name, p in model.state_dict().items()}
    _check(path, expected, {name: t.shape for name, t in tensors.items()})
    model.load_state_dict(tensors)


def load_pretrained(
    folder: str | Path,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> Decoder:
    """The decoder of a checkpoint folder: `config.json`, and one safetensors file or shards.

    Reads what `transformers` writes for GPT-2, Llama, Mistral, Mixtral, Qwen 2.5, DeepSeek-V3
    and Gemma 2. The dtype is the file's if None.

    Raises ValueError if the folder holds no such checkpoint, or a tensor is missing, unknown or
    of another shape.
    """
    folder = Path(folder)
    config = read_config(_json(folder / "config.json"))
    with torch.device("meta"):
        model = Decoder(config)
    stored = {n: t for n, t in _stored(folder).items() if not is_computed(n, config)}
    expected = {name: t.shape for name, t in _to_checkpoint(model).items()}
    _check(folder, expected, {name: t.shape for name, t in stored.items()})
    tensors = _read(stored, dtype, device)
    state: dict[str, Tensor] = {}
    for rule in rules(config):
        parts = rule.read([tensors.pop(name) for name in rule.theirs])
        state |= {name: part.contiguous() for name, part in zip(rule.ours, parts, strict=True)}
    model.load_state_dict(state, assign=True)
    _make_tables(model, device)
    return model.eval()


def save_pretrained(
    model: Decoder, folder: str | Path, max_shard_bytes: int = 5_000_000_000
) -> None:
    """Write a checkpoint folder that `transformers` reads, in shards of at most so many bytes.

    Raises ValueError if no family of checkpoints has such a decoder, or `max_shard_bytes` < 1.
    """
    if max_shard_bytes < 1:
        raise ValueError(f"max_shard_bytes must be positive, got {max_shard_bytes}")
    written = write_config(model.config)
    dtype = str(model.embedding.weight.dtype).removeprefix("torch.")
    tensors = {n: t.detach().cpu().contiguous().clone() for n, t in _to_checkpoint(model).items()}
    shards = _shards(tensors, max_shard_bytes)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    names = [WHOLE] if len(shards) == 1 else [
        f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)
    ]  # fmt: skip
    for name, shard in zip(names, shards, strict=True):
        save_file(shard, folder / name, metadata={"format": "pt"})
    if len(shards) > 1:
        where = {t: name for name, shard in zip(names, shards, strict=True) for t in shard}
        size = sum(t.nbytes for shard in shards for t in shard.values())
        index = {"metadata": {"total_size": size}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n")
    config = json.dumps(written | {"dtype": dtype}, indent=1)
    (folder / "config.json").write_text(config + "\n")


def _check(place: str | Path, expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Both map names to shapes. Raises ValueError that names what does not fit."""
    if missing := sorted(expected.keys() - found.keys()):
        raise ValueError(f"{place} lacks {', '.join(missing)}")
    if unknown := sorted(found.keys() - expected.keys()):
        raise ValueError(
            f"{place} holds tensors that the model does not know: {', '.join(unknown)}"
        )
    for name, shape in expected.items():
        if tuple(found[name]) != tuple(shape):
            shapes = f"{tuple(found[name])} in the file, {tuple(shape)} in the model"
            raise ValueError(f"{place}: {name} is {shapes}")


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing: is this a checkpoint folder?") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no JSON object")
    return found


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies, under which name, and its shape."""

    file: Path
    name: str
    shape: list[int]


def _stored(folder: Path) -> dict[str, Stored]:
    """Every tensor of the folder, by the name that `rules` uses."""
    found: dict[str, Stored] = {}
    for file in _files(folder):
        try:
            with safe_open(file, "pt") as tensors:
                for name in tensors.keys():
                    shape = tensors.get_slice(name).get_shape()
                    found[full_name(name)] = Stored(file, name, shape)
        except (SafetensorError, FileNotFoundError) as error:
            raise ValueError(f"{file} is not a safetensors file: {error}") from error
    return found


def _files(folder: Path) -> list[Path]:
    if (folder / INDEX).exists():
        where = _json(folder / INDEX).get("weight_map")
        if not isinstance(where, dict):
            raise ValueError(f"{folder / INDEX} has no weight_map of names to files")
        names = set(where.values())
        if outside := [n for n in names if Path(n).name != n]:
            raise ValueError(f"{folder / INDEX} names a file outside the folder: {outside[0]}")
        return sorted(folder / name for name in names)
    if (folder / WHOLE).exists():
        return [folder / WHOLE]
    pickled = [p.name for p in folder.glob("*.bin")] + [p.name for p in folder.glob("*.pt*")]
    why = f"; {sorted(pickled)[0]} is a pickle, which could run any code" if pickled else ""
    raise ValueError(f"{folder} holds no {WHOLE}{why}")


def _read(
    stored: Mapping[str, Stored], dtype: torch.dtype | None, device: torch.device | str
) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in sorted({t.file for t in stored.values()}):
        with safe_open(file, "pt", device=str(device)) as opened:
            for name, t in stored.items():
                if t.file == file:
                    tensor = opened.get_tensor(t.name)
                    tensors[name] = tensor if dtype is None else tensor.to(dtype)
    return tensors


def _to_checkpoint(model: Decoder) -> dict[str, Tensor]:
    state = model.state_dict()
    tensors: dict[str, Tensor] = {}
    for rule in rules(model.config):
        theirs = rule.write([state[name] for name in rule.ours])
        tensors |= zip(rule.theirs, theirs, strict=True)
    return tensors


def _shards(tensors: dict[str, Tensor], max_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    room = max_bytes
    for name, tensor in tensors.items():
        if shards[-1] and tensor.nbytes > room:
            shards.append({})
            room = max_bytes
        shards[-1][name] = tensor
        room -= tensor.nbytes
    return shards


def _make_tables(model: nn.Module, device: torch.device | str) -> None:
    """What no file holds: the angles of RoPE, so far on the meta device."""
    for module in model.modules():
        if isinstance(module, RotaryEmbedding):
            module.make_table(device)
