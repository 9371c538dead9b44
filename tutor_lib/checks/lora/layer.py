"""LoRALinear, as students get it wrong."""

import copy
import math

import torch
from torch import Tensor, nn

from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.lora import layer_parts


class LoRALinear(nn.Module):
    """W x + b + (α/r) B A x: the reference."""

    def __init__(self, base: nn.Linear, r: int, alpha: int | float) -> None:
        super().__init__()
        self.base, self.r, self.alpha, self.merged = base, r, alpha, False
        self.scale = self._scale_of(r, alpha)
        self.A = nn.Parameter(base.weight.new_empty(r, base.in_features))
        self.B = nn.Parameter(base.weight.new_zeros(base.out_features, r))
        nn.init.normal_(self.A, std=1 / math.sqrt(base.in_features))
        self._freeze()

    def _scale_of(self, r: int, alpha: int | float) -> float:
        return alpha / r

    def _freeze(self) -> None:
        self.base.requires_grad_(False)

    def _update(self, x: Tensor) -> Tensor:
        return self.scale * (x @ self.A.T @ self.B.T)

    def _joined(self, x: Tensor) -> Tensor:
        return self.base(x) if self.merged else self.base(x) + self._update(x)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) → (..., out)."""
        return self._joined(x)


lora_linear = Exercise("LoRALinear", LoRALinear, welcome=(layer_parts.__name__,))
lora_linear.part("LoRALinear", 3, layer_parts.cases, drive=layer_parts.output)
START = layer_parts.start_cases, layer_parts.start, layer_parts.STARTS
lora_linear.part("LoRALinear_start", 2, *START, reading=layer_parts.started)
lora_linear.part("LoRALinear_merged", 1, layer_parts.cases, drive=layer_parts.merged)


@lora_linear.misconception
class without_scale(LoRALinear):
    """Your update is B A x as it is: the factor α/r is missing. Without it, another rank asks for
    another learning rate."""

    def _scale_of(self, r: int, alpha: int | float) -> float:
        return 1.0


@lora_linear.misconception
class alpha_alone(LoRALinear):
    """You multiply the update by α alone. The factor is α/r, so that a larger rank, whose sum has
    more terms, does not make a larger update."""

    def _scale_of(self, r: int, alpha: int | float) -> float:
        return float(alpha)


@lora_linear.misconception
class alpha_times_rank(LoRALinear):
    """You multiply the update by α · r. The factor is α divided by r."""

    def _scale_of(self, r: int, alpha: int | float) -> float:
        return float(alpha * r)


@lora_linear.misconception
class alpha_over_root(LoRALinear):
    """You multiply the update by α/√r. That exists, under the name rsLoRA (rank-stabilised LoRA);
    LoRA as first published, and asked for here, divides by r itself."""

    def _scale_of(self, r: int, alpha: int | float) -> float:
        return alpha / math.sqrt(r)


@lora_linear.misconception
class rank_over_alpha(LoRALinear):
    """You multiply the update by r/α. It is the other way round: α/r."""

    def _scale_of(self, r: int, alpha: int | float) -> float:
        return r / alpha


@lora_linear.misconception
class without_alpha(LoRALinear):
    """You divide the update by r, but α is missing from the numerator: the factor is α/r."""

    def _scale_of(self, r: int, alpha: int | float) -> float:
        return 1 / r


@lora_linear.misconception
class whole_division(LoRALinear):
    """Your factor is α/r without what comes after the point: // cuts it off, as int() does. Use
    the division that keeps it."""

    def _scale_of(self, r: int, alpha: int | float) -> float:
        return float(alpha // r)


@lora_linear.misconception
class scale_squared(LoRALinear):
    """Your update holds the factor α/r twice, (α/r)². Multiply once: not A's product and B's
    product each."""

    def _update(self, x: Tensor) -> Tensor:
        return self.scale * super()._update(x)


@lora_linear.misconception
class base_scaled(LoRALinear):
    """You multiply the base's output by α/r as well. The factor belongs to the update alone: W x
    stays as it was."""

    def _joined(self, x: Tensor) -> Tensor:
        return self.base(x) if self.merged else self.scale * self.base(x) + self._update(x)


@lora_linear.misconception
class update_missing(LoRALinear):
    """Your output is the base's alone, whatever A and B hold. Is the update added? And is B A
    computed in forward, with the numbers of that moment? In __init__ it is still zero."""

    def _update(self, x: Tensor) -> Tensor:
        return torch.zeros_like(self.base(x))


@lora_linear.misconception
class base_missing(LoRALinear):
    """Your output is the update alone. LoRA adds it to what the base gives: W x + b stays."""

    def _joined(self, x: Tensor) -> Tensor:
        return self.base(x) if self.merged else self._update(x)


@lora_linear.misconception
class bias_lost(LoRALinear):
    """Your output is right but for the base's bias, which is missing. Call the base as a layer:
    it adds its bias by itself, if it has one."""

    def _joined(self, x: Tensor) -> Tensor:
        y = x @ self.base.weight.T
        return y if self.merged else y + self._update(x)


@lora_linear.misconception
class update_of_output(LoRALinear):
    """You feed the update with the base's output. Both see the same x: they stand side by side,
    not one after the other."""

    def _joined(self, x: Tensor) -> Tensor:
        y = self.base(x)
        return y if self.merged else y + self._update(y)


@lora_linear.misconception
class bent_between(LoRALinear):
    """There is a ReLU between A and B. Then the update is no matrix any more, and cannot be merged
    into W. (With one, it is a bottleneck adapter, an older idea.)"""

    def _update(self, x: Tensor) -> Tensor:
        return self.scale * (torch.relu(x @ self.A.T) @ self.B.T)


@lora_linear.misconception
class not_transposed(LoRALinear):
    """You multiply x by B A as it stands, or by B and then by A. That matrix has the shape of W,
    (out, in); x lies in rows, so it has to lie on its side, as W does in an nn.Linear: x meets A
    first."""

    def _update(self, x: Tensor) -> Tensor:
        return self.scale * (x @ self.B @ self.A)


@lora_linear.misconception
class merged_ignored(LoRALinear):
    """When self.merged is True, your forward still adds the update. Then base.weight holds it
    already, and it counts twice: give back the base's output alone."""

    def _joined(self, x: Tensor) -> Tensor:
        return self.base(x) + self._update(x)


@lora_linear.misconception
class merged_inverted(LoRALinear):
    """You add the update when self.merged is True, and leave it out when it is False. It is the
    other way round: merged means that base.weight holds it already."""

    def _joined(self, x: Tensor) -> Tensor:
        return self.base(x) + self._update(x) if self.merged else self.base(x)


@lora_linear.misconception
class B_random(LoRALinear):
    """B is drawn at random. Then the layer begins as another function than its base: training
    starts from a spoilt model. B begins as zeros."""

    def _freeze(self) -> None:
        super()._freeze()
        nn.init.normal_(self.B)


@lora_linear.misconception
class both_zero(LoRALinear):
    """A begins as zeros, and B too. The gradient of A holds the factor B, and that of B the factor
    A: with both zero, neither ever moves. Only B begins as zeros."""

    def _freeze(self) -> None:
        super()._freeze()
        nn.init.zeros_(self.A)


@lora_linear.misconception
class zero_and_random_exchanged(LoRALinear):
    """A begins as zeros and B at random: you have exchanged them. The layer does begin as its base,
    but what is asked for is the usual start: A random, B zero."""

    def _freeze(self) -> None:
        super()._freeze()
        nn.init.normal_(self.B)
        nn.init.zeros_(self.A)


@lora_linear.misconception
class A_constant(LoRALinear):
    """All rows of your A are equal, so they get equal gradients and stay equal: however large r is,
    the rank is 1. Draw A at random."""

    def _freeze(self) -> None:
        super()._freeze()
        nn.init.ones_(self.A)


@lora_linear.misconception
class base_not_frozen(LoRALinear):
    """The base trains too: base.weight still asks for a gradient. Then nothing is saved. Freeze
    it."""

    def _freeze(self) -> None:
        pass


@lora_linear.misconception
class all_frozen(LoRALinear):
    """Nothing trains: A and B are frozen as well. Freeze the base alone, or freeze before A and B
    are there."""

    def _freeze(self) -> None:
        self.requires_grad_(False)


@lora_linear.misconception
class A_frozen(LoRALinear):
    """Only B trains; A is frozen. That exists, under the name LoRA-FA. Here both are to train."""

    def _freeze(self) -> None:
        super()._freeze()
        self.A.requires_grad_(False)


@lora_linear.misconception
class base_copied(LoRALinear):
    """You keep a copy of the base instead of the base itself. A copy takes memory twice, and what
    is merged into it never reaches the model."""

    def _freeze(self) -> None:
        self.base = copy.deepcopy(self.base).requires_grad_(False)


@lora_linear.misconception
class shapes_exchanged(LoRALinear):
    """A and B lie on their sides: A is (in, r) and B is (r, out) in your layer. Asked for are A
    (r, in) and B (out, r), the shapes that an nn.Linear's weight has: B A is then shaped like W."""

    def _freeze(self) -> None:
        super()._freeze()
        self.A, self.B = nn.Parameter(self.A.data.T), nn.Parameter(self.B.data.T)

    def _update(self, x: Tensor) -> Tensor:
        return self.scale * (x @ self.A @ self.B)


@lora_linear.misconception
class always_float32(LoRALinear):
    """A and B do not take after the base. Give new parameters the dtype AND the device of
    base.weight, or they cannot be multiplied with the same x."""

    def _freeze(self) -> None:
        super()._freeze()
        self.A = nn.Parameter(torch.randn(self.A.shape))
        self.B = nn.Parameter(torch.zeros(self.B.shape))
