"""Put a value of one forward pass into another, to see which values decide."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.inside.points import edited
from tutor_lib.inside.trace import values_of
from tutor_lib.model.decoder import Decoder


def patch(model: Decoder, values: Mapping[str, Tensor]) -> AbstractContextManager[None]:
    """Inside this context, each named value is replaced by the one given.

    Activation patching: run clean and record, run corrupted with a value of the clean run, and
    see how much of the clean answer comes back. Meng et al. 2022 (arXiv:2202.05262) call it
    causal tracing; Wang et al. 2022 (arXiv:2211.00593) find a circuit by it.

    Raises ValueError if there is no such name, and where the value's shape is not that of the
    value that it replaces.
    """
    return edited(model, {name: partial(_instead, new) for name, new in values.items()})


def _instead(new: Tensor, value: Tensor) -> Tensor:
    return new


@torch.no_grad()
def recovered_grid(
    model: Decoder,
    clean: Int[Tensor, "T"],
    corrupted: Int[Tensor, "T"],
    answers: tuple[int, int],
    value: str = "residual_before",
) -> Float[Tensor, "L T"]:
    """How much of the clean answer one layer's value at one position brings back.

    (d_patched - d_corrupted) / (d_clean - d_corrupted), where d is the logit of the clean
    answer less that of the corrupted one after the last token: 0 for nothing, 1 for all of it.
    `answers` are those two tokens; `value` is the part of a name after the layer, of a value
    with a vector for each position.

    Raises ValueError if the two texts differ in length or do not differ in d, or there is no
    such value or it has more than one vector a position, one a head for example.
    """
    if clean.shape != corrupted.shape:
        raise ValueError(f"the texts have {len(clean)} and {len(corrupted)} tokens")
    names = [f"blocks.{i}.{value}" for i in range(len(model.blocks))]
    kept = values_of(model, clean[None], [*names, "logits"])
    right, wrong = (
        _difference(kept["logits"], answers),
        _difference(model(corrupted[None]), answers),
    )
    if torch.equal(right, wrong):
        raise ValueError(f"both texts have the difference of logits {right.item()}")
    for name in names:
        if (shape := tuple(kept[name].shape))[:-1] != (1, len(clean)):
            raise ValueError(f"{name} has no one vector a position: its shape is {shape}")
    every = corrupted.expand(len(corrupted), -1)  # one row for each position to patch
    rows = []
    for name in names:
        with edited(model, {name: partial(_one_position_each, kept[name][0])}):
            rows.append((_difference(model(every), answers) - wrong) / (right - wrong))
    return torch.stack(rows)


def _difference(logits: Float[Tensor, "B T V"], answers: tuple[int, int]) -> Float[Tensor, "B"]:
    return logits[:, -1, answers[0]] - logits[:, -1, answers[1]]


def _one_position_each(clean: Float[Tensor, "T C"], value: Float[Tensor, "T T C"]) -> Tensor:
    """Row t gets the clean vector at position t."""
    here = torch.eye(len(clean), dtype=torch.bool, device=clean.device).unsqueeze(-1)
    return torch.where(here, clean, value)
