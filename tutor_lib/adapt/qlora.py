"""Linear layers whose frozen weight is in four bits: the base of QLoRA."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.adapt.linears import linear_layers, replace_module
from tutor_lib.adapt.quantize import (
    DoubleQuantized,
    NF4Tensor,
    check_finite,
    dequantize_nf4,
    quantize_nf4,
)


class NF4Linear(nn.Module):
    """y = W x + b with W in NF4, made whole each time it is needed and then forgotten.

    Dettmers et al. 2023, eq. 5 (arXiv:2305.14314); `inject_lora` adds the second half of that
    equation. The gradient flows to x and not to W. `double` quantises W's scales too.

    Raises ValueError as `quantize_nf4` does.
    """

    kind: Tensor
    packed: Tensor
    codes: Tensor | None
    scales: Tensor

    def __init__(self, linear: nn.Linear, double: bool = True) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        # Of no size; like any other it follows `.to(dtype)`, and tells in what W is to be given.
        self.register_buffer("kind", linear.weight.new_empty(0), persistent=False)
        self._keep(quantize_nf4(linear.weight, double))
        self.bias = linear.bias
        self.requires_grad_(False)

    def _keep(self, q: NF4Tensor) -> None:
        """As buffers of bytes, which move between devices, but which no `.to(dtype)` rounds."""
        self.register_buffer("packed", q.packed)
        if isinstance(q.scales, Tensor):
            self.register_buffer("codes", None)
            self.register_buffer("scales", q.scales.view(torch.uint8))
            return
        self.register_buffer("codes", q.scales.codes)
        scales = torch.cat([q.scales.absmax, q.scales.offset[None]])
        self.register_buffer("scales", scales.view(torch.uint8))

    @property
    def quantized(self) -> NF4Tensor:
        """W in four bits."""
        scales = self.scales.view(torch.float32)
        double = (
            None if self.codes is None else DoubleQuantized(self.codes, scales[:-1], scales[-1])
        )
        shape = torch.Size([self.out_features, self.in_features])
        return NF4Tensor(self.packed, double or scales, shape, self.kind.dtype)

    @property
    def weight(self) -> Float[Tensor, "C_out C_in"]:
        """W in its own dtype."""
        return dequantize_nf4(self.quantized)

    def forward(self, x: Float[Tensor, "*lead C_in"]) -> Float[Tensor, "*lead C_out"]:
        """One product with W."""
        y = _Product.apply(x, self)
        return y if self.bias is None else y + self.bias


class _Product(torch.autograd.Function):
    """x Wᵀ, which keeps neither x nor the whole W for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: NF4Linear) -> Tensor:
        ctx.layer = layer
        return functional.linear(x, layer.weight.to(x.dtype))

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return slope @ ctx.layer.weight.to(slope.dtype), None


def quantize_model(model: nn.Module, targets: Sequence[str], double: bool = True) -> nn.Module:
    """Put an NF4Linear in the place of each nn.Linear whose name ends in one of `targets`.

    Works in place; returns the model. Norms, embeddings and all else stay as they are.

    Raises ValueError if a target names no layer or one that is no plain nn.Linear, or a weight
    holds NaN or ∞; the model is then left as it was.
    """
    layers = {}
    for path, linear in linear_layers(model, targets).items():
        if not isinstance(linear, nn.Linear):
            raise ValueError(f"{path} is no nn.Linear but {type(linear).__name__}")
        check_finite(linear.weight)
        layers[path] = linear
    for path, linear in layers.items():
        replace_module(model, path, NF4Linear(linear, double))
    return model


def bits_per_parameter(model: nn.Module) -> float:
    """All bits of a model's parameters and of its quantised weights, over their numbers."""
    quantized = [m.quantized for m in model.modules() if isinstance(m, NF4Linear)]
    bits = sum(q.bits_per_parameter * q.shape.numel() for q in quantized)
    bits += sum(8 * p.nbytes for p in model.parameters())
    numbers = sum(q.shape.numel() for q in quantized) + sum(p.numel() for p in model.parameters())
    return bits / numbers
