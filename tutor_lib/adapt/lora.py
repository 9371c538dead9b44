"""LoRA: a frozen matrix and a trainable update of low rank beside it."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.adapt.linears import linear_layers, replace_module
from tutor_lib.adapt.qlora import NF4Linear


def check_sizes(largest: int, rank: int, alpha: float, dropout: float) -> None:
    """Raise ValueError unless 1 ≤ R ≤ `largest`, 0 < α < ∞ and 0 ≤ dropout < 1."""
    if not 1 <= rank <= largest:
        raise ValueError(f"need 1 ≤ rank ≤ {largest}, got {rank}")
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha must be positive and finite, got {alpha}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must lie in [0, 1), got {dropout}")


class LowRank(nn.Module):
    """What LoRA learns: ΔW = (α/R) B A, with A (R, C_in) and B (C_out, R).

    Hu et al. 2021, §4.1 (arXiv:2106.09685). B begins as zeros, so that training begins at the
    model as it was; A as nn.Linear's weight does. α/R keeps the size of the update about the
    same at any rank, so that a learning rate found at one rank serves at another.

    Raises ValueError unless 1 ≤ R ≤ min(C_in, C_out), 0 < α < ∞ and 0 ≤ dropout < 1.
    """

    def __init__(self, d_in: int, d_out: int, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        check_sizes(min(d_in, d_out), rank, alpha, dropout)
        self.A = nn.Parameter(torch.empty(rank, d_in))
        self.B = nn.Parameter(torch.zeros(d_out, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.rank, self.alpha, self.dropout = rank, alpha, dropout

    @property
    def scale(self) -> float:
        """α/R."""
        return self.alpha / self.rank

    def delta(self) -> Float[Tensor, "C_out C_in"]:
        """ΔW as a matrix of its own."""
        return self.scale * self.B @ self.A

    def forward(self, x: Float[Tensor, "*lead C_in"]) -> Float[Tensor, "*lead C_out"]:
        """(α/R) B A dropout(x): through the R numbers in between, never through ΔW."""
        z = functional.linear(functional.dropout(x, self.dropout, self.training), self.A)
        return self.scale * functional.linear(z, self.B)

    def added_to(
        self, y: Float[Tensor, "*lead C_out"], x: Float[Tensor, "*lead C_in"]
    ) -> Float[Tensor, "*lead C_out"]:
        """y + forward(x), with the scale and the sum inside the product: fewer passes."""
        z = functional.linear(functional.dropout(x, self.dropout, self.training), self.A)
        flat = y.reshape(-1, y.size(-1))
        out = torch.addmm(flat, z.reshape(-1, self.rank), self.B.T, alpha=self.scale)
        return out.view_as(y)


class LoRALinear(nn.Module):
    """h = W x + b + (α/R) B A dropout(x): Hu et al. 2021, eq. 3 (arXiv:2106.09685).

    The base, W and b, is frozen. Without an `update` (see `adapters`) the layer is its base.
    Merged, it is one product with W + ΔW, without dropout and without gradients for A and B.
    W itself never changes, so `unmerge` gives back the bits that were there: what is added
    to a float and subtracted again does not. The price is a second matrix while merged.

    Raises ValueError as `LowRank` does.
    """

    merged: Tensor | None

    def __init__(
        self, base: nn.Linear | NF4Linear, rank: int, alpha: float, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        update = LowRank(self.in_features, self.out_features, rank, alpha, dropout)
        self.base = base.requires_grad_(False)
        self.update: LowRank | None = update.to(base.weight.device, base.weight.dtype)
        self.register_buffer("merged", None, persistent=False)

    def _load_from_state_dict(self, *arguments: Any) -> None:
        """Load W, A and B; what was merged of the old ones is forgotten."""
        self.merged = None
        super()._load_from_state_dict(*arguments)

    @property
    def weight(self) -> Float[Tensor, "C_out C_in"]:
        """W + ΔW, for all who read the matrix instead of calling the layer."""
        if self.merged is not None:
            return self.merged
        return self.base.weight if self.update is None else self.base.weight + self.update.delta()

    @property
    def bias(self) -> Float[Tensor, "C_out"] | None:
        """The base's."""
        return self.base.bias

    def forward(self, x: Float[Tensor, "*lead C_in"]) -> Float[Tensor, "*lead C_out"]:
        """The base's output and, on top, the update's."""
        if self.merged is not None:
            return functional.linear(x, self.merged, self.bias)
        y = self.base(x)
        return y if self.update is None else self.update.added_to(y, x)

    @torch.no_grad()
    def merge(self) -> None:
        """Compute W + ΔW once: from now on the layer is as fast as its base.

        Raises ValueError if it is merged already.
        """
        if self.merged is not None:
            raise ValueError("the layer is merged already; unmerge it first")
        self.merged = self.weight.detach()

    def unmerge(self) -> None:
        """Forget W + ΔW; W, A and B are what they were, bit for bit.

        Raises ValueError if it is not merged.
        """
        if self.merged is None:
            raise ValueError("the layer is not merged")
        self.merged = None


def inject_lora(
    model: nn.Module, targets: Sequence[str], rank: int, alpha: float, dropout: float = 0.0
) -> nn.Module:
    """Give each linear layer whose name ends in one of `targets` an update; freeze all else.

    A target is the end of a layer's path: "q_proj", "3.attention.q_proj". Hu et al. adapt
    the matrices of attention alone (§4.2), QLoRA all of a block. Works in place; returns the
    model.

    Raises ValueError if a target names no linear layer, if the model has LoRA already, or as
    `LowRank` does; the model is then left as it was.
    """
    if already := [path for path, _ in lora_layers(model)]:
        raise ValueError(f"the model has LoRA already, at {already[0]}; `Adapters` holds several")
    found = linear_layers(model, targets)
    largest = min(min(linear.in_features, linear.out_features) for linear in found.values())
    check_sizes(largest, rank, alpha, dropout)
    model.requires_grad_(False)
    for path, linear in found.items():
        layer = LoRALinear(linear, rank, alpha, dropout)
        replace_module(model, path, layer.train(model.training))
    return model


def lora_layers(model: nn.Module) -> Iterator[tuple[str, LoRALinear]]:
    """The path of each LoRALinear, and the layer."""
    return ((path, m) for path, m in model.named_modules() if isinstance(m, LoRALinear))


def merge(model: nn.Module) -> None:
    """Merge every LoRALinear of `model`.

    Raises ValueError if it has none, or one is merged already.
    """
    for layer in _some_layers(model, merged=False):
        layer.merge()


def unmerge(model: nn.Module) -> None:
    """Unmerge every LoRALinear of `model`.

    Raises ValueError if it has none, or one is not merged.
    """
    for layer in _some_layers(model, merged=True):
        layer.unmerge()


def fold(model: nn.Module) -> nn.Module:
    """Put a plain nn.Linear with W + ΔW in the place of every LoRALinear, for good.

    What is left has the names and shapes of the model before `inject_lora`, all frozen. Works
    in place; returns the model.

    Raises ValueError if there is no LoRALinear.
    """
    _some_layers(model)
    for path, layer in list(lora_layers(model)):
        with torch.no_grad():
            weight = layer.weight.clone()
        with torch.device("meta"):
            plain = nn.Linear(layer.in_features, layer.out_features, bias=False)
        plain.weight, plain.bias = nn.Parameter(weight, requires_grad=False), layer.base.bias
        replace_module(model, path, plain.train(layer.training))
    return model


def _some_layers(model: nn.Module, merged: bool | None = None) -> list[LoRALinear]:
    """All LoRALinears, none of which is in the wrong state: all are changed, or none."""
    layers = dict(lora_layers(model))
    if not layers:
        raise ValueError("the model has no LoRALinear; see `inject_lora`")
    for path, layer in layers.items():
        if merged not in (None, layer.merged is not None):
            raise ValueError(f"{path} is {'not merged' if merged else 'merged already'}")
    return list(layers.values())


def trainable_fraction(model: nn.Module) -> float:
    """The numbers that training changes over all numbers; a four-bit one counts as one.

    Raises ValueError if the model has no parameters.
    """
    sizes = [(p.numel(), p.requires_grad) for p in model.parameters()]
    quantized = [m for m in model.modules() if isinstance(m, NF4Linear)]
    total = sum(n for n, _ in sizes) + sum(m.in_features * m.out_features for m in quantized)
    if not total:
        raise ValueError("the model has no parameters")
    return sum(n for n, trains in sizes if trains) / total
