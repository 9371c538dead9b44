"""Use a student's class: build it, and put given numbers into its parameters."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tutor_lib.checks.run import Complaint


def built(make: Callable[..., nn.Module], *sizes: object) -> nn.Module:
    """What the student's class gives for `sizes`; raises Complaint if that is no nn.Module."""
    module = make(*sizes)
    if not isinstance(module, nn.Module):
        raise Complaint(
            f"{getattr(make, '__name__', 'your class')}{sizes} gave a {type(module).__name__}, "
            "which is no nn.Module. Begin with `class Name(nn.Module):` and call "
            "super().__init__() first."
        )
    return module


def loaded(module: nn.Module, state: Mapping[str, Tensor], like: Tensor) -> nn.Module:
    """`module` with the numbers in `state`, on the device and in the dtype of `like`.

    Raises Complaint if the names or shapes of its parameters are others than those of `state`.
    """
    module = module.to(like.device, like.dtype)
    theirs = dict(module.named_parameters())
    for name, value in state.items():
        if name not in theirs:
            raise Complaint(
                f"Your module has no parameter {name}. It has {', '.join(theirs) or 'none'}."
            )
        if theirs[name].shape != value.shape:
            raise Complaint(
                f"The parameter {name} has shape {tuple(theirs[name].shape)}, but should have "
                f"{tuple(value.shape)}."
            )
    if extra := sorted(theirs.keys() - state.keys()):
        raise Complaint(
            f"Your module has parameters that are not asked for: {', '.join(extra)}."
            + (" nn.Linear makes a bias unless it is told not to." if "bias" in extra[0] else "")
        )
    with torch.no_grad():
        for name, value in state.items():
            theirs[name].copy_(value)
    return module
