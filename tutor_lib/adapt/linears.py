"""Find the linear layers of a model by name, and put others in their place."""

from collections.abc import Sequence
from typing import Any

from torch import nn


def linear_layers(model: nn.Module, targets: Sequence[str]) -> dict[str, Any]:
    """The linear layers, by path, whose path is one of `targets` or ends in "." and one.

    Linear is what has `in_features` and `out_features`; what lies inside it is its own affair.

    Raises ValueError if there are no targets, or one names no linear layer, or a layer that
    has two paths: what is put in its place at one would leave it at the other.
    """
    if isinstance(targets, str) or not targets:
        raise ValueError(f"targets must be a list of names, got {targets!r}")
    linears = _outermost(model)
    names = sorted({path.rpartition(".")[2] for path in linears})
    for target in targets:
        if not any(_ends(path, target) for path in linears):
            raise ValueError(f"no linear layer is called {target!r}; there are {', '.join(names)}")
    chosen = {p: m for p, m in linears.items() if any(_ends(p, t) for t in targets)}
    for path, module in chosen.items():
        if shared := [p for p, m in linears.items() if m is module and p != path]:
            raise ValueError(f"{path} and {shared[0]} are one layer")
    return chosen


def _outermost(model: nn.Module) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {}
    within = "."  # the last one's path: what it holds comes right after it
    for path, module in model.named_modules(remove_duplicate=False):
        if path and hasattr(module, "in_features") and not path.startswith(within):
            found[path] = module
            within = f"{path}."
    return found


def _ends(path: str, target: str) -> bool:
    return path == target or path.endswith(f".{target}")


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put `module` where `path` leads."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)
