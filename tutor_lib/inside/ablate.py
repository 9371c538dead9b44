"""Switch a head off, to see what the model does without it."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from tutor_lib.model.decoder import Decoder


@contextmanager
def without_head(model: Decoder, layer: int, head: int) -> Iterator[None]:
    """Inside this context, one head writes zeros instead of its mixed values.

    The heads' outputs stand side by side, D numbers each, before `o_proj` mixes them: those
    of this head become 0. Zero ablation, as in Olsson et al. 2022 (arXiv:2209.11895).

    Raises ValueError if there is no such layer or head.
    """
    config = model.config
    if not (0 <= layer < config.n_layers and 0 <= head < config.n_heads):
        raise ValueError(
            f"no head {head} of layer {layer}; L = {config.n_layers}, H = {config.n_heads}"
        )

    def silence(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        mixed = inputs[0].unflatten(-1, (config.n_heads, config.head_size)).clone()
        mixed[..., head, :] = 0
        return (mixed.flatten(-2),)

    project = model.get_submodule(f"blocks.{layer}.attention.o_proj")
    hook = project.register_forward_pre_hook(silence)
    try:
        yield
    finally:
        hook.remove()
