"""See what a model computes on the way, without changing it."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.attention.core import causal_mask
from tutor_lib.model.block import Block
from tutor_lib.model.decoder import Decoder


@torch.no_grad()
def attention_weights(model: Decoder, ids: Int[Tensor, "B T"]) -> Float[Tensor, "L B H T T"]:
    """Every layer's and head's attention weights on `ids`.

    The model runs the fused kernel, which stores no weights; so each block's input is caught by
    a forward hook, and the readable attention is run on it.
    """
    caught: list[Tensor] = []

    def catch(block: Block, inputs: tuple) -> None:
        x, mask, *_ = inputs
        mask = causal_mask(x.size(1), device=x.device) if mask is None else mask
        caught.append(block.attention(block.attention_norm(x), mask)[1])

    hooks = [block.register_forward_pre_hook(catch) for block in model.blocks]
    try:
        model(ids)
    finally:
        for hook in hooks:
            hook.remove()
    return torch.stack(caught)
