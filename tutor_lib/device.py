"""Choose where tensors live, and how wide their numbers are."""

import os

import torch
from torch import Tensor


def best_device() -> torch.device:
    """The fastest device at hand: CUDA, then Apple's MPS, then the CPU.

    The environment variable `TUTOR_DEVICE` (say `cpu` or `cuda:1`) overrides the choice.

    Raises ValueError if `TUTOR_DEVICE` names no device that PyTorch knows.
    """
    wanted = os.environ.get("TUTOR_DEVICE")
    if wanted:
        return _named(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _named(name: str) -> torch.device:
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"TUTOR_DEVICE={name!r} is not a PyTorch device") from error


def widened(x: Tensor) -> Tensor:
    """In float32, or as it is if that is more: half precision is too coarse to sum or choose in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
