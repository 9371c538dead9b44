"""What multi-head attention is given beside x (mask, context, base), as students get it wrong."""

import torch
from torch import Tensor

from tutor_lib.checks.attention.multihead import Maybe, Reference, Three, multihead, turned

# --- the mask -----------------------------------------------------------------------------------


@multihead.misconception
class MaskIgnored(Reference):
    """Your layer is right without a mask, and does the same with one. Hand the mask on."""

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        return super().weigh(q, k, None)


@multihead.misconception
class MaskInverted(Reference):
    """You hide what may be seen. The mask is True where a query MAY look, here and in your
    attention: hand it on as it is."""

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        return super().weigh(q, k, None if mask is None else ~mask)


@multihead.misconception
class AlwaysCausal(Reference):
    """You apply a causal mask always. Use the mask that is given, and none if it is None."""

    def weigh(self, q: Tensor, k: Tensor, mask: Maybe) -> Tensor:
        return super().weigh(q, k, torch.ones(q.size(-2), k.size(-2), dtype=torch.bool).tril())


# --- cross-attention ----------------------------------------------------------------------------


@multihead.misconception
class ContextIgnored(Reference):
    """With a context, your layer still attends from x to x. Keys and values come from the context
    if there is one."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        return super().heads(x, x)


@multihead.misconception
class QueriesFromContext(Reference):
    """Your queries come from the context and your keys and values from x. It is the other way
    round: x asks, the context answers."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        return super().heads(source, x)


@multihead.misconception
class AllFromContext(Reference):
    """Your queries come from the context too. x asks: queries are made of x always."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        return super().heads(source, source)


@multihead.misconception
class ValuesFromX(Reference):
    """Your keys come from the context, but your values from x. A value belongs to its key: both are
    of the same token."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        return (*super().heads(x, source)[:2], self.split(self.v_proj(x)))


@multihead.misconception
class KeysFromX(Reference):
    """Your values come from the context, but your keys from x. A value belongs to its key: both are
    of the same token."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        q, _, v = super().heads(x, source)
        return q, self.split(self.k_proj(x)), v


# --- RoPE ---------------------------------------------------------------------------------------


@multihead.misconception
class RopeIgnored(Reference):
    """With RoPE, your layer gives the same as without. Do you rotate q and k where rope_base is
    given? And after the split, when positions are the axis before the last? Before that, rotate
    would turn all of head h by the angle h, which changes no score."""

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        return q, k, v


@multihead.misconception
class RopeOnValues(Reference):
    """You rotate the values too. Rotation is for comparing: queries and keys. What is handed over
    stays as it is."""

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        return (*super().turn(q, k, v)[:2], turned(v, self.rope_base))


@multihead.misconception
class RopeOnQueriesAlone(Reference):
    """You rotate q, but not k. Only where both are turned does a score depend on their distance."""

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        return turned(q, self.rope_base), k, v


@multihead.misconception
class RopeOnKeysAlone(Reference):
    """You rotate k, but not q. Only where both are turned does a score depend on their distance."""

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        return q, turned(k, self.rope_base), v


@multihead.misconception
class RopeBeforeSplit(Reference):
    """You rotate before the split into heads, so that a number's partner is in another head. Each
    head is rotated by itself, over its own D numbers: split first."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        q, k = turned(self.q_proj(x), self.rope_base), turned(self.k_proj(source), self.rope_base)
        return self.split(q), self.split(k), self.split(self.v_proj(source))

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        return q, k, v


@multihead.misconception
class RopeOnX(Reference):
    """You rotate x, before the projections. The queries and keys are rotated, head by head."""

    def heads(self, x: Tensor, source: Tensor) -> Three:
        return super().heads(turned(x, self.rope_base), turned(source, self.rope_base))

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        return q, k, v


@multihead.misconception
class RopeBaseIgnored(Reference):
    """You rotate with base 10,000 always. Hand rope_base on to rotate."""

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        base = None if self.rope_base is None else 10_000.0
        return turned(q, base), turned(k, base), v


@multihead.misconception
class RopeAlways(Reference):
    """You rotate q and k even if rope_base is None. Then they stay as they are."""

    def turn(self, q: Tensor, k: Tensor, v: Tensor) -> Three:
        base = self.rope_base or 10_000.0
        return turned(q, base), turned(k, base), v
