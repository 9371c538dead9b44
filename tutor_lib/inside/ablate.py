"""Switch a head or a neuron off, to see what the model does without it."""

from contextlib import AbstractContextManager

from jaxtyping import Int
from torch import Tensor

from tutor_lib.inside.points import edited
from tutor_lib.inside.trace import values_of
from tutor_lib.model.decoder import Decoder


def without_head(model: Decoder, layer: int, head: int) -> AbstractContextManager[None]:
    """Inside this context, one head writes zeros instead of its mixed values.

    Zero ablation, as in Olsson et al. 2022 (arXiv:2209.11895).

    Raises ValueError if there is no such layer or head.
    """
    return _with(model, *_head(model, layer, head))


def with_mean_head(
    model: Decoder, layer: int, head: int, ids: Int[Tensor, "B T"]
) -> AbstractContextManager[None]:
    """Inside this context, one head writes its mean over all tokens of `ids`.

    Mean ablation: it takes away what the head tells apart, and leaves what it always adds, on
    which later layers rely. Wang et al. 2022 (arXiv:2211.00593) ablate so.

    Raises ValueError if there is no such layer or head.
    """
    name, axis, index = _head(model, layer, head)
    mean = values_of(model, ids, [name])[name].select(axis, index).mean(dim=(0, 1))
    return _with(model, name, axis, index, mean)


def without_neuron(model: Decoder, layer: int, neuron: int) -> AbstractContextManager[None]:
    """Inside this context, the activation of one neuron of the FFN is 0.

    Raises ValueError if there is no such layer or neuron, or the FFN has none to call its own.
    """
    return _with(model, *_neuron(model, layer, neuron))


def with_mean_neuron(
    model: Decoder, layer: int, neuron: int, ids: Int[Tensor, "B T"]
) -> AbstractContextManager[None]:
    """Inside this context, one neuron's activation is its mean over all tokens of `ids`.

    Raises ValueError if there is no such layer or neuron, or the FFN has none to call its own.
    """
    name, axis, index = _neuron(model, layer, neuron)
    mean = values_of(model, ids, [name])[name].select(axis, index).mean()
    return _with(model, name, axis, index, mean)


def _with(
    model: Decoder, name: str, axis: int, index: int, value: Tensor | float = 0.0
) -> AbstractContextManager[None]:
    """One head or neuron, its place along `axis`, has this value at every token."""

    def replace(values: Tensor) -> Tensor:
        replaced = values.clone()
        replaced.select(axis, index)[:] = value
        return replaced

    return edited(model, {name: replace})


def _head(model: Decoder, layer: int, head: int) -> tuple[str, int, int]:
    _check("head", head, layer, model.config.n_heads, model)
    return f"blocks.{layer}.attention.z", 1, head


def _neuron(model: Decoder, layer: int, neuron: int) -> tuple[str, int, int]:
    _check("neuron", neuron, layer, model.config.d_ff, model)
    return f"blocks.{layer}.ffn.neurons", -1, neuron


def _check(what: str, index: int, layer: int, size: int, model: Decoder) -> None:
    n_layers = len(model.blocks)
    if not (0 <= layer < n_layers and 0 <= index < size):
        raise ValueError(
            f"no {what} {index} of layer {layer}; {n_layers} layers have {size} {what}s each"
        )
