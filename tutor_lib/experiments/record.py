"""What an experiment found, with all that is needed to find it again."""

import importlib
import json
import platform
import time
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import torch
from matplotlib.figure import Figure

ASSETS = Path(__file__).parents[1] / "assets" / "experiments"
NAMES = (
    "scaling",
    "moe",
    "induction",
    "memory",
    "lora_rank",
    "alignment",
    "path_length",
    "translation",
)
PACKAGES = ("torch", "numpy", "transformers", "tokenizers", "peft", "bitsandbytes")


class Experiment(Protocol):
    """What each module of this folder offers."""

    FULL: Any
    CUT_DOWN: Any

    def run(self, plan: Any, seed: int) -> dict[str, Any]:
        """The numbers found, fit for JSON."""

    def figure(self, results: dict[str, Any]) -> Figure:
        """The numbers drawn."""


def experiment(name: str) -> Experiment:
    """The experiment called `name`.

    Raises ValueError if there is none.
    """
    if name not in NAMES:
        raise ValueError(f"no experiment {name!r}; there are {', '.join(NAMES)}")
    return importlib.import_module(f"tutor_lib.experiments.{name}")


def make_record(name: str, seed: int = 0, cut_down: bool = False) -> dict[str, Any]:
    """Run an experiment; return its numbers with the command, plan, time, machine and versions."""
    found = experiment(name)
    plan = found.CUT_DOWN if cut_down else found.FULL
    began = time.perf_counter()
    results = found.run(plan, seed)
    flag = " --cut-down" if cut_down else ""
    return {
        "command": f"python -m tutor_lib.experiments {name} --seed {seed}{flag}",
        "plan": asdict(plan),
        "seconds": round(time.perf_counter() - began),
        "machine": machine(),
        "results": rounded(results),
    }


def load_record(name: str, folder: Path = ASSETS) -> dict[str, Any]:
    """What the last full run of an experiment wrote.

    Raises ValueError if there is no such record.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        raise ValueError(f"no record {path}; make one with python -m tutor_lib.experiments {name}")
    return json.loads(path.read_text())


def save_record(record: dict[str, Any], path: Path) -> None:
    """Write the record as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def rounded(value: Any) -> Any:
    """Every number of `value` to five significant digits: a record is a few KB."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def machine() -> dict[str, object]:
    """What computed, in which versions."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{package: found for package in PACKAGES if (found := _version(package))},
    }


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(": ")[1] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
