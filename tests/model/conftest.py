"""Two models with the same weights: ours, and a peer that names and packs them otherwise."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn


@dataclass
class Twins:
    """`our_names` tells which of our tensors, one on the other, are the peer's of that name."""

    ours: nn.Module
    theirs: nn.Module
    our_names: Callable[[str], list[str]]

    def __post_init__(self) -> None:
        """Draw weights far from their start, and carry them over."""
        for name, parameter in self.ours.named_parameters():
            gain = parameter.ndim < 2 and not name.endswith("bias")
            nn.init.normal_(parameter, mean=1.0 * gain, std=0.1)
        carried = set()
        for name, parameter in self._trained():
            parts = self.our_names(name)
            carried |= set(parts)
            with torch.no_grad():
                # What has no twin must not show.
                parameter.copy_(self._packed(parts, lambda p: p)) if parts else parameter.zero_()
        assert carried == {name for name, _ in self.ours.named_parameters()}

    def same_gradients(self, tolerance: float) -> None:
        for name, parameter in self._trained():
            if parts := self.our_names(name):
                mine = self._packed(parts, lambda p: p.grad)
                close(mine, parameter.grad, tolerance, name)

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((n, p) for n, p in self.theirs.named_parameters() if p.requires_grad)

    def _packed(self, parts: list[str], what: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([what(self.ours.get_parameter(part)) for part in parts])


def close(ours: Tensor, theirs: Tensor, tolerance: float, name: str = "") -> None:
    """Equal up to `tolerance` of the largest number."""
    error, scale = (ours - theirs).abs().max(), max(1, theirs.abs().max().item())
    assert error <= tolerance * scale, f"{name}: {error} off, of {scale}"


@pytest.fixture
def same_numbers() -> Callable[..., None]:
    return close


@pytest.fixture
def twins() -> type[Twins]:
    return Twins
