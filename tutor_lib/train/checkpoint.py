"""A run stored between two steps, so that it goes on as if it had never stopped.

One safetensors file holds the model, the optimiser's averages and PyTorch's random states; its
header tells, as JSON, the plan, the loss's scale, the losses so far and the last batch. Nothing
is ever unpickled: a pickle can run any code.
"""

import json
import os
import zlib
from collections import defaultdict
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from tutor_lib.train.trainer import Batch, Trainer, TrainingPlan

HEADER = "training run"


def save_checkpoint(trainer: Trainer, path: Path, last_batch: Batch = ()) -> None:
    """Write the run as it stands after its last step, on `last_batch`.

    The file is written under another name, then renamed: whoever interrupts it leaves the old
    one whole.
    """
    tensors = {name: t.detach().cpu().clone() for name, t in _tensors(trainer).items()}
    partly = path.with_name(f".{path.name}.partly")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        save_file(tensors, partly, metadata={HEADER: json.dumps(_facts(trainer, last_batch))})
        with partly.open("rb") as written:
            os.fsync(written.fileno())  # on the disk before it bears the name
        partly.replace(path)
    finally:
        partly.unlink(missing_ok=True)


def load_checkpoint(trainer: Trainer, path: Path) -> int:
    """Put `trainer` and PyTorch's random states where the file says.

    Returns the digest of the last batch, see `digest`.

    Raises ValueError if the file is missing, damaged, no checkpoint, or of another plan or
    model; the trainer is then left as it was.
    """
    tensors, facts = _read(path)
    _check_facts(path, facts, _facts(trainer, ()), trainer.plan.steps)
    _check_tensors(path, tensors, trainer)
    trainer.model.load_state_dict(_below("model", tensors))
    _load_averages(trainer.optimizer, _below("optimizer", tensors))
    trainer.scaler.load_state_dict(facts["scaler"])
    trainer.losses[:] = facts["losses"]
    torch.set_rng_state(tensors["random.cpu"])
    for i in range(torch.cuda.device_count()):
        if (name := f"random.cuda.{i}") in tensors:
            torch.cuda.set_rng_state(tensors[name], i)
    return facts["last_batch"]


def digest(batch: Batch) -> int:
    """A number that two different batches hardly share: the CRC-32 of what they hold."""
    found = 0
    for tensor in batch:
        found = zlib.crc32(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes(), found)
    return found


def _tensors(trainer: Trainer) -> dict[str, Tensor]:
    """All that changes in a run and is a tensor, by name."""
    found = {f"model.{name}": t for name, t in trainer.model.state_dict().items()}
    for i, state in trainer.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{i}.{name}": t for name, t in state.items()}
    found["random.cpu"] = torch.get_rng_state()
    for i in range(torch.cuda.device_count()):
        found[f"random.cuda.{i}"] = torch.cuda.get_rng_state(i)
    return found


def _facts(trainer: Trainer, last_batch: Batch) -> dict[str, Any]:
    """All that is no tensor."""
    return {
        "plan": _plan(trainer.plan),
        "scaler": trainer.scaler.state_dict(),
        "losses": trainer.losses,
        "last_batch": digest(last_batch),
    }


def _plan(plan: TrainingPlan) -> dict[str, str]:
    """The plan in words, for comparison; the schedule by its name and what is set beside it."""
    whole = plan.schedule
    parts = (whole.func, whole.args, whole.keywords) if isinstance(whole, partial) else (whole,)
    named = " ".join(getattr(part, "__qualname__", str(part)) for part in parts)
    return {name: str(value) for name, value in (asdict(plan) | {"schedule": named}).items()}


def _read(path: Path) -> tuple[dict[str, Tensor], Any]:
    try:
        with safe_open(path, "pt") as opened:
            header = (opened.metadata() or {}).get(HEADER, "")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}
        return tensors, json.loads(header)
    except FileNotFoundError as error:
        raise ValueError(f"{path} is missing") from error
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is damaged, or no safetensors file: {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no checkpoint of a training run") from error


def _check_facts(path: Path, found: Any, ours: dict[str, Any], steps: int) -> None:
    if not _alike(found, ours) or not _alike(found["plan"], ours["plan"]):
        raise ValueError(f"{path} is no checkpoint of a training run")
    for name, here in ours["plan"].items():
        if (there := found["plan"][name]) != here:
            raise ValueError(f"{path} is of another plan: {name} is {there} there, {here} here")
    whole = all(isinstance(loss, float) for loss in found["losses"])
    if not (whole and _alike(found["scaler"], ours["scaler"]) and len(found["losses"]) <= steps):
        raise ValueError(f"{path} is no checkpoint of this training run")


def _alike(found: Any, ours: dict[str, Any]) -> bool:
    """Whether both have the same keys, and values of the same types."""
    return isinstance(found, dict) and (
        {name: type(value) for name, value in found.items()}
        == {name: type(value) for name, value in ours.items()}
    )


def _check_tensors(path: Path, found: dict[str, Tensor], trainer: Trainer) -> None:
    ours = _tensors(trainer)
    # Before its first step the optimiser has no averages, and not every machine has a GPU.
    needed = {name for name in ours if name.startswith("model.")} | {"random.cpu"}
    ours |= _averages(trainer.optimizer)
    names = {name for name in found if not name.startswith("random.cuda.")}
    for name in sorted(names | needed):
        there, here = _kind(found.get(name)), _kind(ours.get(name))
        if there != here:
            raise ValueError(f"{path} does not fit: {name} is {there} there, {here} here")


def _kind(tensor: Tensor | None) -> str:
    return "missing" if tensor is None else f"{tensor.dtype} of {tuple(tensor.shape)}"


def _averages(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What AdamW keeps for each parameter once it has made a step, before it has."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    made: dict[str, Tensor] = {}
    for i, p in enumerate(parameters):
        made[f"optimizer.{i}.step"] = torch.tensor(0.0)
        made |= {f"optimizer.{i}.{name}": p for name in ("exp_avg", "exp_avg_sq")}
    return made


def _load_averages(optimizer: torch.optim.Optimizer, averages: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in averages.items():
        number, key = name.split(".")
        state[int(number)][key] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": dict(state), "param_groups": groups})


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    names = [name for name in tensors if name.startswith(f"{prefix}.")]
    return {name.removeprefix(f"{prefix}."): tensors[name] for name in names}
