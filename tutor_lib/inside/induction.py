"""What a head does, as a number: previous token, induction."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tutor_lib.inside.trace import attention_weights
from tutor_lib.model.decoder import Decoder


def previous_token_scores(model: Decoder, ids: Int[Tensor, "B T"]) -> Float[Tensor, "L H"]:
    """Each head's mean weight on the token before: 1 for a perfect previous-token head."""
    weights = attention_weights(model, ids)
    return weights.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=(1, 3))


def induction_scores(model: Decoder, words: Int[Tensor, "B N"]) -> Float[Tensor, "L H"]:
    """Each head's mean weight on what came next the last time this word was said.

    On random words said twice, position N + i holds the same word as position i; an
    induction head there looks at i + 1. Olsson et al. 2022 (arXiv:2209.11895), "prefix
    matching".
    """
    n = words.size(1)
    weights = attention_weights(model, torch.cat((words, words), dim=1))
    # The diagonal holds (n - 1 + i, i); its first query is still in the first saying.
    return weights.diagonal(offset=1 - n, dim1=-2, dim2=-1)[..., 1:].mean(dim=(1, 3))
