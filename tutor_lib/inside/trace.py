"""See what a model computes on the way, without changing it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.inside.points import edited, find
from tutor_lib.model.decoder import Decoder


@contextmanager
def record(model: Decoder, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Keep the values of these names, as the model computes them inside this context.

        with record(model, ["blocks.*.attention.weights", "logits"]) as values:
            model(ids)

    `tutor_lib.inside.points` lists the names; `*` stands for anything. Of several forward
    passes the last one's values stay. They carry gradients, unless under `torch.no_grad`.

    Raises ValueError if a name fits no value.
    """
    values: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        values[name] = value
        return value

    with edited(model, {name: partial(keep, name) for name in find(model, names)}):
        yield values


@torch.no_grad()
def values_of(
    model: Decoder, ids: Int[Tensor, "B T"], names: Sequence[str]
) -> dict[str, Float[Tensor, "..."]]:
    """The values of these names in one forward pass, in the order in which they are computed.

    Raises ValueError if a name fits no value.
    """
    with record(model, names) as values:
        model(ids)
    return values


def attention_weights(model: Decoder, ids: Int[Tensor, "B T"]) -> Float[Tensor, "L B H T T"]:
    """Every layer's and head's attention weights on `ids`."""
    return torch.stack([*values_of(model, ids, ["blocks.*.attention.weights"]).values()])
