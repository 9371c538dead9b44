"""Weights to a safetensors file and back. Nothing is ever unpickled."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn


def save_weights(model: nn.Module, path: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the parameters of `model`, in `dtype`, to a safetensors file."""
    tensors = {name: p.detach().to("cpu", dtype) for name, p in model.state_dict().items()}
    save_file(tensors, path)


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fill `model` from a safetensors file, in the model's own dtype and on its device.

    Raises ValueError if the file is no safetensors file, or a tensor is missing, unknown or of
    another shape; the model is then left as it was.
    """
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    expected = model.state_dict()
    if missing := sorted(expected.keys() - tensors.keys()):
        raise ValueError(f"{path} lacks {', '.join(missing)}")
    if unknown := sorted(tensors.keys() - expected.keys()):
        raise ValueError(f"{path} holds tensors that the model does not know: {', '.join(unknown)}")
    for name, tensor in tensors.items():
        if tensor.shape != expected[name].shape:
            shapes = (
                f"{tuple(tensor.shape)} in the file, {tuple(expected[name].shape)} in the model"
            )
            raise ValueError(f"{path}: {name} is {shapes}")
    model.load_state_dict(tensors)
