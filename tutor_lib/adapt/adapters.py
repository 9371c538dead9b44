"""Several LoRA adapters on one base, by name: swapped, and added up."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tutor_lib.adapt.linears import linear_layers, replace_module
from tutor_lib.adapt.lora import LoRALinear, LowRank, lora_layers
from tutor_lib.adapt.qlora import NF4Linear

Adapter = dict[str, LowRank]  # by the path of the linear layer


def adapter_of(model: nn.Module) -> Adapter:
    """The updates that are at work in `model`; their tensors are shared, not copied."""
    return {p: layer.update for p, layer in lora_layers(model) if layer.update is not None}


def new_adapter(
    model: nn.Module, targets: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> Adapter:
    """Updates that begin at nothing, for the layers that `inject_lora` would choose.

    Raises ValueError as it does.
    """
    return {
        path: LowRank(layer.in_features, layer.out_features, rank, alpha, dropout)
        for path, layer in linear_layers(model, targets).items()
    }


def put_adapter(model: nn.Module, adapter: Adapter) -> None:
    """Let these updates be at work in `model`, and no others. An empty one gives the base.

    Layers that get their first update are frozen; `Adapters` freezes all of the model.

    Raises ValueError if a layer is merged, or an update has no linear layer or does not fit
    it; the model is then left as it was.
    """
    for path, layer in lora_layers(model):
        if layer.merged is not None:
            raise ValueError(f"{path} is merged; unmerge the model first")
    modules = dict(model.named_modules())
    for path, update in adapter.items():
        _check_fit(path, update, modules.get(path))
    for _, layer in lora_layers(model):
        layer.update = None
    for path, update in adapter.items():
        layer = modules[path]
        if not isinstance(layer, LoRALinear):
            layer = LoRALinear(layer, update.rank, update.alpha).train(layer.training)
            replace_module(model, path, layer)
        update.to(layer.base.weight.device, layer.base.weight.dtype)
        layer.update = update.train(layer.training)


def _check_fit(path: str, update: LowRank, layer: nn.Module | None) -> None:
    base = layer.base if isinstance(layer, LoRALinear) else layer
    if not isinstance(base, nn.Linear | NF4Linear):
        raise ValueError(f"the model has no linear layer {path}")
    shape, found = (base.out_features, base.in_features), (len(update.B), update.A.size(1))
    if shape != found:
        raise ValueError(f"an update of {found} does not fit {path}, which is {shape}")


def combine(parts: Sequence[tuple[Adapter, float]]) -> Adapter:
    """The adapter whose ΔW is the weighted sum of the others'; its rank is the sum of theirs.

    Σ w (α/R) B A = [w (α/R) B …] [A; …]: factors side by side need no product. α = R.

    Raises ValueError if there are none, or a sum has a larger rank than its matrix.
    """
    if not parts:
        raise ValueError("nothing to combine")
    paths = list(dict.fromkeys(path for adapter, _ in parts for path in adapter))
    return {
        path: _side_by_side([(a[path], weight) for a, weight in parts if path in a])
        for path in paths
    }


@torch.no_grad()
def _side_by_side(parts: list[tuple[LowRank, float]]) -> LowRank:
    A = torch.cat([update.A for update, _ in parts])
    B = torch.cat([weight * update.scale * update.B for update, weight in parts], dim=1)
    return low_rank(A, B, float(len(A)))


def low_rank(
    A: Float[Tensor, "R C_in"], B: Float[Tensor, "C_out R"], alpha: float, dropout: float = 0.0
) -> LowRank:
    """The update with these factors, A (R, C_in) and B (C_out, R).

    Raises ValueError if they are no such matrices, or as `LowRank` does.
    """
    if A.ndim != 2 or B.ndim != 2 or len(A) != B.size(1):
        raise ValueError(f"A of {tuple(A.shape)} and B of {tuple(B.shape)} make no product B A")
    with torch.device("meta"):
        update = LowRank(A.size(1), len(B), len(A), alpha, dropout)
    update.A, update.B = nn.Parameter(A), nn.Parameter(B)
    return update


class Adapters:
    """Adapters of one model, by name. At most one is at work; the others wait.

    The base is frozen. What `inject_lora` put into the model before is called "default".
    """

    def __init__(self, model: nn.Module) -> None:
        self.model, found = model, adapter_of(model)
        self.by_name: dict[str, Adapter] = {"default": found} if found else {}
        model.requires_grad_(False)
        for update in found.values():
            update.requires_grad_(True)

    def add(
        self, name: str, targets: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
    ) -> None:
        """A new adapter, as `inject_lora` makes it; it is at work from now on.

        Raises ValueError if the name is taken, the model is merged, or as `inject_lora` does.
        """
        self._check_new(name)
        adapter = new_adapter(self.model, targets, rank, alpha, dropout)
        put_adapter(self.model, adapter)
        self.keep(name, adapter)

    def keep(self, name: str, adapter: Adapter) -> None:
        """Give a name to an adapter that was loaded or combined. It is not yet at work.

        Raises ValueError if the name is taken.
        """
        self._check_new(name)
        self.by_name[name] = adapter

    def activate(self, name: str) -> None:
        """Let this adapter be at work, and no other.

        Raises ValueError if there is none of this name, or as `put_adapter` does.
        """
        put_adapter(self.model, self[name])

    def deactivate(self) -> None:
        """Let the base be at work, alone."""
        put_adapter(self.model, {})

    def combine(self, name: str, weights: Mapping[str, float]) -> None:
        """Name the weighted sum of some adapters, as `combine` makes it."""
        self.keep(name, combine([(self[other], weight) for other, weight in weights.items()]))

    def __getitem__(self, name: str) -> Adapter:
        if name not in self.by_name:
            raise ValueError(f"no adapter {name!r}; there are {', '.join(self.by_name) or 'none'}")
        return self.by_name[name]

    def _check_new(self, name: str) -> None:
        if name in self.by_name:
            raise ValueError(f"there is an adapter {name!r} already")
