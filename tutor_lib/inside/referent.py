"""Which noun does a head look at where the model must name what "it" was?"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.inside.trace import attention_weights
from tutor_lib.model.decoder import Decoder


@dataclass(frozen=True)
class ReferentPrompt:
    """Token ids that end right before the referent is named, and the two nouns' ids.

    Raises ValueError if a noun is not among the ids.
    """

    ids: Int[Tensor, "T"]
    referent: int
    other: int

    def __post_init__(self) -> None:
        for name in ("referent", "other"):
            if not (self.ids == getattr(self, name)).any():
                raise ValueError(f"{name}={getattr(self, name)} is not in {self.ids.tolist()}")


@torch.no_grad()
def named_share(model: Decoder, prompts: Sequence[ReferentPrompt]) -> float:
    """The share of prompts whose most probable next token is the referent.

    Raises ValueError if there is no prompt.
    """
    _check_some(prompts)
    named = [model(p.ids[None])[0, -1].argmax().item() == p.referent for p in prompts]
    return sum(named) / len(named)


def referent_scores(model: Decoder, prompts: Sequence[ReferentPrompt]) -> Float[Tensor, "L H"]:
    """The share of prompts in which a head prefers the referent to the other noun.

    It does where the last position puts more weight on the referent's token. A causal model
    cannot settle "it" at "it": the word that decides comes later. So we look from the position
    that must name the referent, after all words are known.

    Raises ValueError if there is no prompt.
    """
    _check_some(prompts)
    return torch.stack([_prefers(model, p) for p in prompts]).float().mean(dim=0)


def _check_some(prompts: Sequence[ReferentPrompt]) -> None:
    if not prompts:
        raise ValueError("there are no prompts")


def _prefers(model: Decoder, prompt: ReferentPrompt) -> Tensor:
    last = attention_weights(model, prompt.ids[None])[:, 0, :, -1]  # (L, H, T)
    on_referent = last[..., prompt.ids == prompt.referent].sum(-1)
    return on_referent > last[..., prompt.ids == prompt.other].sum(-1)
