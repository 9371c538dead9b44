"""Count the multiplications of matrix products, as they are computed."""

import math
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

# Where the axis that is summed over is the last one of the first matrix, or of the second argument.
OF_FIRST = {"matmul", "__matmul__", "mm", "bmm", "mv", "linear"}
OF_SECOND = {"addmm", "baddbmm", "addbmm"}
BY_NUMBER = {"mul", "mul_", "multiply", "__mul__", "__rmul__"}  # to be summed afterwards, perhaps


class Products(TorchFunctionMode):
    """While it is on, `count` grows by the multiplications of every matrix product.

    PyTorch's own counter does this too, but takes seconds to load.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count, and do what was asked for."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in OF_FIRST | OF_SECOND:
            self.count += result.numel() * args[name in OF_SECOND].size(-1)
        elif name == "einsum" and isinstance(args[0], str):
            self.count += result.numel() * _summed(args[0], _operands(args[1:]))
        elif name in BY_NUMBER and isinstance(result, Tensor):
            self.count += result.numel()
        elif name == "tensordot":
            self.count += math.isqrt(args[0].numel() * args[1].numel() * result.numel())
        elif name in ("conv1d", "conv2d"):
            self.count += result.numel() * args[1][0].numel()
        return result


def _operands(args: Any) -> list[Tensor]:
    return [*args[0]] if args and isinstance(args[0], list | tuple) else [*args]


def _summed(equation: str, operands: list[Tensor]) -> int:
    """Over how many terms each number of an einsum's result is a sum."""
    inputs, _, output = equation.replace(" ", "").partition("->")
    sizes: dict[str, int] = {}
    for letters, operand in zip(inputs.split(","), operands, strict=True):
        before, _, after = letters.partition("...")
        sizes |= dict(zip(before, operand.shape, strict=False))
        sizes |= dict(zip(after[::-1], operand.shape[::-1], strict=False))
    return math.prod(size for letter, size in sizes.items() if letter not in output)
