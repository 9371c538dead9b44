"""What training makes smaller: how surprised the model is by each token that really comes.

Teacher forcing (Williams and Zipser 1989): whatever the model would have said itself, it reads
the true text and predicts each next token of it, all positions in one pass. A decoder-only
model reads `ids` and is asked for `next_tokens(ids)`; the decoder of an encoder-decoder reads
`shift_right(target, start)` and is asked for `target`.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from tutor_lib.device import widened
from tutor_lib.model.layers import check_ids

IGNORED = -100  # the target of a position that predicts nothing; PyTorch's own number


def next_tokens(
    ids: Int[Tensor, "B T"], counted: Bool[Tensor, "B T"] | None = None
) -> Int[Tensor, "B T"]:
    """The target of each position: the token after it, and `IGNORED` after the last.

    `counted` is True at the tokens that are to be predicted, and False at those that are only
    read: a prompt, or what fills a row up.

    Raises ValueError if `counted` has another shape than the ids.
    """
    if counted is not None:
        if counted.shape != ids.shape:
            shapes = f"{tuple(counted.shape)} does not fit ids of {tuple(ids.shape)}"
            raise ValueError(f"a mask of {shapes}")
        ids = ids.masked_fill(~counted, IGNORED)
    return F.pad(ids[:, 1:], (0, 1), value=IGNORED)  # cheaper than a copy of the logits


def shift_right(target: Int[Tensor, "B T"], start: int) -> Int[Tensor, "B T"]:
    """What a decoder reads to predict `target`: a start id, then all but the last token.

    Vaswani et al. 2017, fig. 1 (arXiv:1706.03762). An `IGNORED` target is read as the start id;
    it stands behind the last counted one, so that nobody looks at it.

    Raises ValueError if `start` is negative.
    """
    if start < 0:
        raise ValueError(f"the start id must not be negative, got {start}")
    read = F.pad(target[:, :-1], (1, 0), value=start)
    return read.masked_fill(read == IGNORED, start)


def cross_entropy(logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The mean of -log p(target) over the targets that are not `IGNORED`, in nats.

    The logits of half precision are widened: log Σ exp needs the digits.

    Raises ValueError if all targets are ignored, or one is outside the vocabulary.
    """
    check_targets(targets, logits.size(-1))
    logits = widened(logits).flatten(0, 1)
    return F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORED)


def smoothed_cross_entropy(
    logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"], smoothing: float
) -> Float[Tensor, ""]:
    """The cross-entropy to targets of which a share ε is spread evenly over the vocabulary.

    (1 - ε) · (-log p(target)) + ε · (1/V) Σ_v (-log p(v)): Szegedy et al. 2015, §7
    (arXiv:1512.00567). The loss is then smallest at logits a finite distance apart.

    Raises ValueError unless 0 ≤ ε < 1, if all targets are ignored, or if one is outside the
    vocabulary.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"need 0 ≤ smoothing < 1, got {smoothing}")
    check_targets(targets, logits.size(-1))
    counted = targets != IGNORED
    surprise = -widened(logits).log_softmax(-1)  # (B, T, V)
    own = surprise.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    each = (1 - smoothing) * own + smoothing * surprise.mean(-1)  # (B, T)
    return each.masked_fill(~counted, 0).sum() / counted.sum()


def next_token_loss(logits: Float[Tensor, "B T V"], ids: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The mean of -log p(next token), in nats: position t predicts token t + 1.

    Raises ValueError if there is no next token: T < 2.
    """
    return cross_entropy(logits, next_tokens(ids))


def check_targets(targets: Int[Tensor, "B T"], vocab_size: int) -> None:
    """Raise ValueError if all targets are ignored, or one is outside the vocabulary.

    Compiled code looks at no values; it has PyTorch's own check.
    """
    if torch.compiler.is_compiling():
        return
    counted = targets[targets != IGNORED]
    if not counted.numel():
        raise ValueError(f"nothing to predict: all of {targets.numel()} targets are ignored")
    check_ids(counted.unsqueeze(0), vocab_size, "target")
