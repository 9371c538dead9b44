"""The layers of encoders and of encoder-decoders, with the norm before each part or after it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.multihead import CrossAttention, GroupedQueryAttention
from tutor_lib.attention.scored import Mask, ScoredAttention
from tutor_lib.ffn.dense import ReLUFeedForward
from tutor_lib.ffn.norm import LayerNorm


class PostNorm(nn.Module):
    """norm(x + part(x)), the original order: Vaswani et al. 2017, §3.1 (arXiv:1706.03762)."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = norm

    def forward(
        self, x: Float[Tensor, "B T C"], part: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "B T C"]:
        """Add what `part` makes of x, then normalise."""
        return self.norm(x + part(x))


class PreNorm(PostNorm):
    """x + part(norm(x)): Xiong et al. 2020 (arXiv:2002.04745).

    Nothing stands in the way of the residual stream, so training needs less warm-up, or none.
    """

    def forward(
        self, x: Float[Tensor, "B T C"], part: Callable[[Tensor], Tensor]
    ) -> Float[Tensor, "B T C"]:
        """Normalise a copy for `part`, and add what it makes of it."""
        return x + part(self.norm(x))


@dataclass(frozen=True)
class LayerParts:
    """What a layer is made of, whatever its sizes. The defaults are the original transformer's."""

    residual: type[PostNorm] = PostNorm
    norm: Callable[[int, float], nn.Module] = LayerNorm
    ffn: Callable[[int, int], nn.Module] = ReLUFeedForward
    attention_bias: bool = False  # of the four projections
    score_scale: float | None = None  # of q·k; 1/√D if None


@dataclass(frozen=True, kw_only=True)
class StackConfig:
    """The sizes of a stack of layers, checked when made; the configs of models extend it.

    Raises ValueError if a size is not positive, or H does not divide C.
    """

    vocab_size: int  # V
    context_length: int  # the longest text
    n_layers: int  # L; of each stack, where there are two
    d_model: int  # C
    n_heads: int  # H
    d_ff: int  # F
    head_dim: int | None = None  # D; C/H if None
    norm_eps: float = 1e-5
    parts: LayerParts = field(default_factory=LayerParts)

    def __post_init__(self) -> None:
        for name in ("vocab_size", "context_length", "n_layers", "d_model", "n_heads", "d_ff",
                     "head_size", "norm_eps"):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.head_dim is None and self.d_model % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide d_model={self.d_model}")

    @property
    def head_size(self) -> int:
        """D: `head_dim`, or C / H."""
        return self.d_model // self.n_heads if self.head_dim is None else self.head_dim


class EncoderBlock(nn.Module):
    """Attention to the whole text, then the FFN, each added to the residual stream."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.attention = attention(GroupedQueryAttention, config)
        self.ffn = config.parts.ffn(config.d_model, config.d_ff)
        self.add_attention, self.add_ffn = residual(config), residual(config)

    def forward(
        self, x: Float[Tensor, "B T C"], mask: Mask | None = None
    ) -> Float[Tensor, "B T C"]:
        """Read the residual stream, write back to it."""
        x = self.add_attention(x, lambda y: self.attention.fused(y, mask))
        return self.add_ffn(x, self.ffn)


class DecoderBlock(nn.Module):
    """Attention to the text so far, then to the source, then the FFN: Vaswani et al., fig. 1."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()
        self.attention = attention(GroupedQueryAttention, config)
        self.cross = attention(CrossAttention, config)
        self.ffn = config.parts.ffn(config.d_model, config.d_ff)
        self.add_attention, self.add_cross = residual(config), residual(config)
        self.add_ffn = residual(config)

    def forward(
        self,
        x: Float[Tensor, "B T C"],
        memory: tuple[Float[Tensor, "B H N D"], Float[Tensor, "B H N D"]],
        mask: Mask | None = None,
        memory_mask: Bool[Tensor, "*#lead T N"] | None = None,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "B T C"]:
        """Read the residual stream, and what `cross.remember` made of N tokens; write back."""
        x = self.add_attention(x, lambda y: self.attention.fused(y, mask, cache))
        x = self.add_cross(x, lambda y: self.cross.fused(y, memory, memory_mask))
        return self.add_ffn(x, self.ffn)


Attention = TypeVar("Attention", bound=GroupedQueryAttention)


def attention(kind: type[Attention], config: StackConfig) -> Attention:
    """An attention layer of `config`'s sizes, each head with keys and values of its own."""
    scaled, bias = ScoredAttention(config.parts.score_scale), config.parts.attention_bias
    heads = (config.n_heads, config.n_heads)
    return kind(config.d_model, *heads, None, config.head_size, scaled, bias, bias)


def residual(config: StackConfig) -> PostNorm:
    """What adds a part to the residual stream, with a norm of its own."""
    return config.parts.residual(config.parts.norm(config.d_model, config.norm_eps))


def last_norm(config: StackConfig) -> nn.Module:
    """What ends a stack: a norm, if its layers' come first; post-norm layers end with one."""
    if issubclass(config.parts.residual, PreNorm):
        return config.parts.norm(config.d_model, config.norm_eps)
    return nn.Identity()


def look_at(mask: Bool[Tensor, "B S"], n_queries: int) -> Bool[Tensor, "B 1 T S"]:
    """Let each of T queries look at the tokens of its row, not at what fills the row up."""
    return mask[:, None, None].expand(-1, 1, n_queries, -1)


def check_ids(ids: Int[Tensor, "B T"], size: int, name: str = "token id") -> None:
    """Raise ValueError if an id is outside a table of `size` rows."""
    low, high = ids.aminmax() if ids.numel() else (0, 0)
    if int(low) < 0 or int(high) >= size:
        outside = ids[(ids < 0) | (ids >= size)]
        raise ValueError(f"{name} {int(outside[0])} is outside 0…{size - 1}")


def check_length(length: int, config: StackConfig) -> None:
    """Raise ValueError unless there are tokens, and no more than the context holds."""
    if length < 1:
        raise ValueError(f"the text is empty: {length} tokens")
    if length > config.context_length:
        raise ValueError(f"{length} tokens do not fit the context of {config.context_length}")


def check_mask(mask: Bool[Tensor, "B T"], ids: Int[Tensor, "B T"]) -> None:
    """Raise ValueError if the mask is not of the ids' shape, or leaves no token of a row."""
    if mask.shape != ids.shape:
        raise ValueError(f"a mask of {tuple(mask.shape)} does not fit ids of {tuple(ids.shape)}")
    empty = (~mask).all(dim=1).nonzero()
    if empty.numel():
        raise ValueError(f"row {int(empty[0])} holds no token: the mask hides all of it")
