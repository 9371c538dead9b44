"""See what a model computes on the way, without changing it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.model.decoder import Decoder


@torch.no_grad()
def attention_weights(model: Decoder, ids: Int[Tensor, "B T"]) -> Float[Tensor, "L B H T T"]:
    """Every layer's and head's attention weights on `ids`, caught by forward hooks."""
    caught: list[Tensor] = []

    def catch(module: nn.Module, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        caught.append(output[1])

    layers = [layer for layer in model.modules() if isinstance(layer, GroupedQueryAttention)]
    hooks = [layer.register_forward_hook(catch) for layer in layers]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(caught)
