"""What a head does, as a number: previous token, induction; and what induction is good for."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from tutor_lib.inside.lens import frozen
from tutor_lib.inside.trace import attention_weights, values_of
from tutor_lib.model.decoder import Decoder


def previous_token_scores(model: Decoder, ids: Int[Tensor, "B T"]) -> Float[Tensor, "L H"]:
    """Each head's mean weight on the token before: 1 for a perfect previous-token head.

    Raises ValueError if there is no token before: T < 2.
    """
    _at_least_two(ids)
    weights = attention_weights(model, ids)
    return weights.diagonal(offset=-1, dim1=-2, dim2=-1).mean(dim=(1, 3))


def induction_scores(model: Decoder, words: Int[Tensor, "B N"]) -> Float[Tensor, "L H"]:
    """Each head's mean weight on what came next the last time this word was said.

    On random words said twice, position N + i holds the same word as position i; an
    induction head there looks at i + 1. Olsson et al. 2022 (arXiv:2209.11895), "prefix
    matching".

    Raises ValueError if N < 2: nothing came next.
    """
    _at_least_two(words)
    n = words.size(1)
    weights = attention_weights(model, torch.cat((words, words), dim=1))
    # The diagonal holds (n - 1 + i, i); its first query is still in the first saying.
    return weights.diagonal(offset=1 - n, dim1=-2, dim2=-1)[..., 1:].mean(dim=(1, 3))


@torch.no_grad()
def copying_scores(model: Decoder, words: Int[Tensor, "B N"]) -> Float[Tensor, "L H"]:
    """How far each head by itself raises the logit of the word to copy above the mean word's.

    On random words said twice: the head's part of the logit of what came next the last time,
    less the mean of its parts of all logits, the last norm's scale frozen (see `lens`). In
    logits; 0 for a head that copies nothing. An induction head has this and prefix matching:
    Olsson et al. 2022 (arXiv:2209.11895) define it by both.

    Raises ValueError if N < 2, or each block's output is normalised again.
    """
    _at_least_two(words)
    if model.config.family.norms_after:
        raise ValueError("a head whose output is normalised with others' has no part of its own")
    last = f"blocks.{len(model.blocks) - 1}.residual_after"
    twice = torch.cat((words, words), dim=1)
    values = values_of(model, twice, ["blocks.*.attention.heads", last])
    here = slice(words.size(1), -1)  # in the second saying, where the next word is known
    read = frozen(model.final_norm, values.pop(last)[:, None, here])
    tokens = (model.embedding if model.config.tied else model.unembedding).weight
    direction = tokens[words[:, 1:]] - tokens.mean(0)  # (B, N - 1, C)
    heads = torch.stack([*values.values()])[..., here, :]  # (L, B, H, N - 1, C)
    return (read(heads) * direction[:, None]).sum(-1).mean(dim=(1, 3))


@torch.no_grad()
def token_losses(model: Decoder, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T-1"]:
    """-log p of each token but the first, given those before it, in nats."""
    return F.cross_entropy(model(ids)[:, :-1].mT, ids[:, 1:], reduction="none")


def in_context_score(
    model: Decoder, ids: Int[Tensor, "B T"], early: int, late: int
) -> Float[Tensor, ""]:
    """The mean loss at position `late` less that at `early`, in nats: how far the text helps.

    Olsson et al. 2022 (arXiv:2209.11895) take tokens 500 and 50; in shorter contexts the
    caller says which. Below 0 where the model learns from what it has read.

    Raises ValueError unless 1 ≤ early < late < T: the first token is not predicted.
    """
    if not 1 <= early < late < ids.size(1):
        raise ValueError(f"need 1 ≤ early < late < {ids.size(1)}, got {early} and {late}")
    losses = token_losses(model, ids).mean(0)
    return losses[late - 1] - losses[early - 1]


def _at_least_two(ids: Tensor) -> None:
    if ids.size(1) < 2:
        raise ValueError(f"needs at least 2 tokens a row, got {ids.size(1)}")
