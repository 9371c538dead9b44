"""Draw the inputs of a check from one generator."""

import torch
from torch import Tensor


def seeded(seed: int) -> "Draw":
    """What draws the same numbers wherever it is made."""
    return Draw(torch.Generator().manual_seed(seed))


class Draw:
    """Random tensors of moderate size: softmax of them does not saturate."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator

    def __call__(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.randn(*shape, generator=self.generator)

    def mask(self, *shape: int) -> Tensor:
        """Truth values, six in ten True; the first of each row always, so that all may look."""
        allowed = torch.rand(*shape, generator=self.generator) < 0.6
        allowed[..., 0] = True
        return allowed

    def ids(self, high: int, *shape: int) -> Tensor:
        """Whole numbers from 0 to `high` − 1."""
        return torch.randint(high, shape, generator=self.generator)
