"""RoPE beyond the context a model was trained on: other frequencies for the same rotation.

Each scaling maps the plain frequencies θ_i = base^(-2i/D) to new ones. `attention_factor`
multiplies queries and keys after rotation, and so the scores by its square.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class RopeScaling:
    """No scaling: the frequencies as they were trained. The others are its subclasses."""

    follows_length: ClassVar[bool] = False  # whether the frequencies change as the text grows

    @property
    def attention_factor(self) -> float:
        """What queries and keys are multiplied by."""
        return 1.0

    def frequencies(
        self, plain: Float[Tensor, "half"], base: float, length: int
    ) -> Float[Tensor, "half"]:
        """New θ from the `plain` ones of `base`, for a text of `length` tokens."""
        return plain


@dataclass(frozen=True)
class LinearScaling(RopeScaling):
    """Position interpolation: s times as many positions in the same angles.

    θ / s: Chen et al. 2023, eq. 4 (arXiv:2306.15595). Neighbours move closer together, so a
    model wants some fine-tuning. Raises ValueError unless `factor` ≥ 1.
    """

    factor: float

    def __post_init__(self) -> None:
        _check_factor(self.factor)

    def frequencies(
        self, plain: Float[Tensor, "half"], base: float, length: int
    ) -> Float[Tensor, "half"]:
        """θ / s."""
        return plain / self.factor


@dataclass(frozen=True)
class DynamicNTKScaling(RopeScaling):
    """A larger base, and only once the text outgrows the trained context n₀.

    base' = base · (s n/n₀ - (s - 1))^(D/(D - 2)) for n > n₀ tokens: the fastest pair stays as it
    is, the slowest is interpolated (Peng et al. 2023, §3.3, arXiv:2309.00071). Keys that a cache
    holds keep the rotation of the length at which they came.

    Raises ValueError unless `factor` ≥ 1 and `original_context` ≥ 1, or if D = 2.
    """

    factor: float
    original_context: int
    follows_length: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        _check_context(self.original_context)

    def frequencies(
        self, plain: Float[Tensor, "half"], base: float, length: int
    ) -> Float[Tensor, "half"]:
        """θ of the larger base."""
        if (size := 2 * len(plain)) == 2:
            raise ValueError("dynamic NTK scaling needs a head size over 2, got 2")
        ratio = max(length, self.original_context) / self.original_context
        larger = base * (self.factor * ratio - (self.factor - 1)) ** (size / (size - 2))
        return larger ** (-torch.arange(0, size, 2) / size)


@dataclass(frozen=True)
class YaRNScaling(RopeScaling):
    """Interpolate slow pairs, leave fast ones, blend between: Peng et al. 2023, §3.2–3.4.

    A pair that turns more than `fast` times over the trained context keeps θ, one that turns
    less than `slow` times gets θ / s, and a linear ramp over the pairs' numbers blends between
    (arXiv:2309.00071, as its authors' code does). Queries and keys are multiplied by
    `magnitude`: 0.1 ln s + 1 (eq. 15) if None.

    Raises ValueError unless `factor` ≥ 1, `original_context` ≥ 1 and 0 < slow < fast.
    """

    factor: float
    original_context: int
    fast: float = 32.0
    slow: float = 1.0
    magnitude: float | None = None

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        _check_context(self.original_context)
        if not 0 < self.slow < self.fast:
            raise ValueError(f"need 0 < slow < fast, got {self.slow} and {self.fast}")

    @property
    def attention_factor(self) -> float:
        """The magnitude that was given, or eq. 15's."""
        return yarn_magnitude(self.factor) if self.magnitude is None else self.magnitude

    def frequencies(
        self, plain: Float[Tensor, "half"], base: float, length: int
    ) -> Float[Tensor, "half"]:
        """(1 - ramp) θ + ramp θ / s."""
        size = 2 * len(plain)
        low = max(math.floor(self._pair(self.fast, base, size)), 0)
        high = min(math.ceil(self._pair(self.slow, base, size)), size - 1)
        ramp = (torch.arange(len(plain)) - low) / max(high - low, 0.001)
        return torch.lerp(plain, plain / self.factor, ramp.clamp(0, 1))

    def _pair(self, turns: float, base: float, size: int) -> float:
        """The number i of the pair that turns `turns` times over the trained context."""
        wavelength = self.original_context / turns
        return size * math.log(wavelength / (2 * math.pi)) / (2 * math.log(base))


@dataclass(frozen=True)
class Llama3Scaling(RopeScaling):
    """Llama 3.1's: long waves get θ / s, short ones stay, those between are blended.

    By wavelength λ = 2π/θ: λ < n₀/`fast` keeps θ, λ > n₀/`slow` gets θ / s, and between them the
    weight of θ is (n₀/λ - slow) / (fast - slow). Llama Team 2024 (arXiv:2407.21783) and the
    released code.

    Raises ValueError unless `factor` ≥ 1, `original_context` ≥ 1 and 0 < slow < fast.
    """

    factor: float = 8.0
    original_context: int = 8192
    fast: float = 4.0
    slow: float = 1.0

    def __post_init__(self) -> None:
        _check_factor(self.factor)
        _check_context(self.original_context)
        if not 0 < self.slow < self.fast:
            raise ValueError(f"need 0 < slow < fast, got {self.slow} and {self.fast}")

    def frequencies(
        self, plain: Float[Tensor, "half"], base: float, length: int
    ) -> Float[Tensor, "half"]:
        """Between θ / s and θ."""
        turns = self.original_context * plain / (2 * math.pi)  # n₀/λ
        kept = ((turns - self.slow) / (self.fast - self.slow)).clamp(0, 1)
        return torch.lerp(plain / self.factor, plain, kept)


def yarn_magnitude(factor: float, weight: float = 1.0) -> float:
    """0.1 · weight · ln s + 1: YaRN, eq. 15; 1 if s ≤ 1. DeepSeek calls the weight `mscale`."""
    return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0


def _check_factor(factor: float) -> None:
    if not 1 <= factor < math.inf:
        raise ValueError(f"factor must be at least 1 and finite, got {factor}")


def _check_context(length: int) -> None:
    if length < 1:
        raise ValueError(f"original_context must be at least 1, got {length}")
