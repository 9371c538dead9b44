"""Multi-head attention, as students get it wrong."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from tutor_lib.checks.attention import layers
from tutor_lib.checks.attention.core import attention
from tutor_lib.checks.attention.masks import causal_mask
from tutor_lib.checks.attention.rope import rotate
from tutor_lib.checks.attention.scores import attention_scores
from tutor_lib.checks.attention.softmax import softmax
from tutor_lib.checks.diagnose import Exercise

Pair = tuple[Tensor, Tensor]
Three = tuple[Tensor, Tensor, Tensor]
Maybe = Tensor | None


def turned(x: Tensor, base: float | None) -> Tensor:
    """RoPE, half-split; `x` as it is if there is no base."""
    if base is None:
        return x
    left, right = x.chunk(2, -1)
    frequencies = base ** (-torch.arange(0, x.size(-1), 2, device=x.device) / x.size(-1))
    angles = torch.arange(x.size(-2), device=x.device)[:, None] * frequencies.to(x.dtype)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((left * cos - right * sin, right * cos + left * sin), -1)


class Reference(nn.Module):
    """Each step is a method, so that a wrong layer can differ in one of them."""

    def __init__(self, C: int, H: int, rope_base: float | None = None) -> None:
        super().__init__()
        self.H, self.rope_base = H, rope_base
        self.q_proj, self.k_proj = nn.Linear(C, C, bias=False), nn.Linear(C, C, bias=False)
        self.v_proj, self.o_proj = nn.Linear(C, C, bias=False), nn.Linear(C, C, bias=False)

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.H, -1)).transpose(1, 2)

    def merge(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2).flatten(-2)

    def heads(self, x: Tensor, source: Tensor) -> Three:
        q, k, v = self.q_proj(x), self.k_proj(source), self.v_proj(source)
        return self.split(q), self.split(k), self.split(v)

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        return turned(q, self.rope_base), turned(k, self.rope_base), v

    def scores(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        scores = q @ k.mT / math.sqrt(q.size(-1))
        return scores if mask is None else scores.masked_fill(~mask, -math.inf)

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        return self.scores(q, k, mask).softmax(-1)

    def both(self, x: Tensor, mask: Maybe, context: Maybe) -> Pair:
        q, k, v = self.turn(*self.heads(x, x if context is None else context))
        weights = self.weigh(q, k, mask)
        return self.o_proj(self.merge(weights @ v)), weights

    def forward(self, x: Tensor, mask: Maybe = None, context: Maybe = None) -> Any:
        return self.both(x, mask, context)


multihead = Exercise(
    "MultiHeadAttention",
    Reference,
    uses=(softmax, attention_scores, causal_mask, attention, rotate),
    finished=("scaled_dot_product_attention", "MultiheadAttention", "multi_head_attention_forward"),
)
RESULTS = ("the output", "the weight tensor")
multihead.part("MultiHeadAttention", 3, layers.self_cases, layers.attend_to_self, RESULTS)
multihead.part("MultiHeadAttention_mask", 2, layers.mask_cases, layers.attend_with_mask, RESULTS)
multihead.part("MultiHeadAttention_cross", 2, layers.cross_cases, layers.attend_to_context, RESULTS)
multihead.part("MultiHeadAttention_rope", 2, layers.rope_cases, layers.attend_by_position, RESULTS)


@multihead.misconception
class WithoutScale(Reference):
    """Your weights equal what you get without dividing by √D. Your attention_scores does it."""

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        return super().weigh(q * math.sqrt(q.size(-1)), k, mask)


@multihead.misconception
class DividedBySqrtC(Reference):
    """You divide the scores by √C. Each head compares vectors of size D = C/H, so it is √D."""

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        return super().weigh(q / math.sqrt(self.H), k, mask)


@multihead.misconception
class SplitByView(Reference):
    """You split into heads by view or reshape alone, straight to (B, H, T, D): that cuts each text
    into H stretches. Split the last axis first, (B, T, H, D), then exchange two axes."""

    def split(self, x: Tensor) -> Tensor:
        return x.reshape(x.size(0), self.H, x.size(1), -1)


@multihead.misconception
class SplitAndMergedByView(SplitByView):
    """You split and merge by view or reshape alone: that cuts each text into H stretches. Split
    the last axis first, (B, T, H, D), then exchange two axes; merging undoes both."""

    def merge(self, x: Tensor) -> Tensor:
        return x.reshape(x.size(0), x.size(2), -1)


@multihead.misconception
class MergedByView(Reference):
    """Your weights are right, but the heads are not merged. They are (B, H, T, D): exchange H and T
    before you put the last two axes together, else positions get mixed."""

    def merge(self, x: Tensor) -> Tensor:
        return x.reshape(x.size(0), x.size(2), -1)


@multihead.misconception
class SplitSizeFirst(Reference):
    """You split the C numbers as (D, H). They are (H, D): the first D numbers belong to head 0, the
    next D to head 1."""

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.H)).permute(0, 3, 1, 2)


@multihead.misconception
class SplitAndMergedSizeFirst(SplitSizeFirst):
    """You split and merge the C numbers as (D, H), every H-th number to the same head. They are
    (H, D): the first D numbers belong to head 0, the next D to head 1."""

    def merge(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(-2)


@multihead.misconception
class AttendsBetweenHeads(Reference):
    """Your heads look at each other, at every position for itself. Attention mixes along the axis
    before the last: bring the positions there, (B, H, T, D)."""

    def split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.H, -1))

    def merge(self, x: Tensor) -> Tensor:
        return x.flatten(-2)


@multihead.misconception
class OneWideHead(Reference):
    """You have one head of size C, not H heads of size D = C/H."""

    def split(self, x: Tensor) -> Tensor:
        return x.unsqueeze(1)


@multihead.misconception
class OneWideHeadWithoutAxis(Reference):
    """You have one head of size C, and no axis for heads. Split the last axis of q, k and v into
    H heads of size D = C/H."""

    def split(self, x: Tensor) -> Tensor:
        return x

    def merge(self, x: Tensor) -> Tensor:
        return x


@multihead.misconception
class WithoutOutputProjection(Reference):
    """Your weights are right; the output is the merged heads, without o_proj. It mixes what the
    heads found."""

    def both(self, x: Tensor, mask: Maybe, context: Maybe) -> Pair:
        q, k, v = self.turn(*self.heads(x, x if context is None else context))
        return self.merge(self.weigh(q, k, mask) @ v), self.weigh(q, k, mask)


@multihead.misconception
class OutputProjectionOnValues(Reference):
    """You apply o_proj to the values, before attention. It comes last, after the heads are
    merged."""

    def both(self, x: Tensor, mask: Maybe, context: Maybe) -> Pair:
        source = x if context is None else context
        q, k, v = self.turn(*self.heads(x, source))
        v = self.split(self.o_proj(self.v_proj(source)))
        return self.merge(self.weigh(q, k, mask) @ v), self.weigh(q, k, mask)


@multihead.misconception
class QueriesAndKeysExchanged(Reference):
    """q_proj makes your keys and k_proj your queries. The other way round."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        q, k, v = self.k_proj(x), self.q_proj(source), self.v_proj(source)
        return self.split(q), self.split(k), self.split(v)


@multihead.misconception
class KeysAndValuesExchanged(Reference):
    """k_proj makes your values and v_proj your keys. The other way round."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        q, k, v = super().heads(x, source)
        return q, v, k


@multihead.misconception
class KeysFromQProj(Reference):
    """Your keys are made by q_proj. Each of q, k and v has a projection of its own."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        q, _, v = super().heads(x, source)
        return q, self.split(self.q_proj(source)), v


@multihead.misconception
class ValuesFromKProj(Reference):
    """Your values are made by k_proj. Each of q, k and v has a projection of its own."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        q, k, _ = super().heads(x, source)
        return q, k, k


@multihead.misconception
class SoftmaxOverHeads(Reference):
    """Your weights sum to 1 over the heads. Each head has a softmax of its own, over the keys: the
    last axis."""

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        return self.scores(q, k, mask).softmax(1)


@multihead.misconception
class OneSoftmaxForAllHeads(Reference):
    """All heads share one softmax: they sum to 1 together. Each has one of its own, over the keys:
    the last axis."""

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        scores = self.scores(q, k, mask).transpose(1, 2)  # (B, T, H, S)
        return scores.flatten(-2).softmax(-1).view(scores.shape).transpose(1, 2)


@multihead.misconception
class HeadsAveraged(Reference):
    """All your heads mix by the same weights, the mean over heads. Each head has weights of its
    own: that is what heads are for."""

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        return super().weigh(q, k, mask).mean(1, keepdim=True).expand(-1, self.H, -1, -1)


@multihead.misconception
class ReturnsMeanWeights(Reference):
    """Your output is right, but the weights are the mean over the heads. Return every head's:
    (B, H, T, S)."""

    def forward(self, x: Tensor, mask: Maybe = None, context: Maybe = None) -> Any:
        output, weights = self.both(x, mask, context)
        return output, weights.mean(1)


@multihead.misconception
class OnlyOutput(Reference):
    """Your output is right, but it comes alone. Return two things: the output, then the weights."""

    def forward(self, x: Tensor, mask: Maybe = None, context: Maybe = None) -> Any:
        return self.both(x, mask, context)[0]


@multihead.misconception
class ResidualAdded(Reference):
    """You add x to the output. That sum is the block's business; a layer returns what it adds."""

    def forward(self, x: Tensor, mask: Maybe = None, context: Maybe = None) -> Any:
        output, weights = self.both(x, mask, context)
        return x + output, weights
