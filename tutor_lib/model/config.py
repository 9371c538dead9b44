"""The sizes of a decoder, and what sets its family apart."""

from dataclasses import dataclass, field

from torch import nn

from tutor_lib.attention.latent import LatentSizes
from tutor_lib.embed.rope_scaling import RopeScaling
from tutor_lib.ffn.dense import SwiGLUFeedForward
from tutor_lib.ffn.norm import RMSNorm


@dataclass(frozen=True)
class Family:
    """What a family of models has in common, whatever its sizes. The defaults are Llama's."""

    norm: type[nn.Module] = RMSNorm
    ffn: type[nn.Module] = SwiGLUFeedForward
    rotary: bool = True  # RoPE; else learned positions
    qkv_bias: bool = False
    o_bias: bool = False
    norms_after: bool = False  # each part's output is normalised too, as in Gemma 2
    scaled_embedding: bool = False  # times √C, as in the original transformer and Gemma


@dataclass(frozen=True)
class ExpertSizes:
    """The sizes of a mixture of experts. One group and no shared expert is Mixtral's.

    Raises ValueError if they do not fit each other.
    """

    n_experts: int  # E
    n_active: int  # k of them work on a token
    d_expert: int  # F of each
    n_shared: int = 0  # experts that work on every token
    n_dense_layers: int = 0  # the first layers have one FFN of d_ff instead
    n_groups: int = 1  # a token's experts come from few of these groups
    n_active_groups: int = 1
    sigmoid: bool = False  # DeepSeek-V3's scores, balanced by a bias; else softmax
    scale: float = 1.0  # of the experts' weights

    def __post_init__(self) -> None:
        if not 1 <= self.n_active <= self.n_experts:
            raise ValueError(f"need 1 ≤ n_active ≤ {self.n_experts}, got {self.n_active}")
        if self.n_groups < 1 or self.n_experts % self.n_groups:
            raise ValueError(f"n_groups={self.n_groups} does not divide {self.n_experts} experts")
        for name in ("d_expert", "n_active_groups"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("n_shared", "n_dense_layers"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass(frozen=True)
class DecoderConfig:
    """A decoder-only transformer in numbers, checked when made.

    Raises ValueError if a size is not positive, H does not divide C, K does not divide H, or
    the head size is odd where RoPE turns pairs.
    """

    vocab_size: int  # V
    context_length: int  # the longest S
    n_layers: int  # L
    d_model: int  # C
    n_heads: int  # H
    n_kv_heads: int  # K
    d_ff: int  # F
    rope_base: float = 10_000.0
    norm_eps: float = 1e-5
    head_dim: int | None = None  # D; C/H if None
    tied: bool = True  # the unembedding is the embedding's transpose
    family: Family = field(default_factory=Family)
    rope_scaling: RopeScaling | None = None
    windows: tuple[int | None, ...] = (None,)  # of the layers in turn; None: all of the past
    score_scale: float | None = None  # of q·k; 1/√D if None
    score_softcap: float | None = None
    logit_softcap: float | None = None
    experts: ExpertSizes | None = None
    latent: LatentSizes | None = None

    def __post_init__(self) -> None:
        for name, size in self.sizes().items():
            if not size > 0:
                raise ValueError(f"{name} must be positive, got {size}")
        if self.head_dim is None and self.d_model % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide d_model={self.d_model}")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads={self.n_kv_heads} does not divide n_heads={self.n_heads}")
        if self.family.rotary and self.latent is None and self.head_size % 2:
            raise ValueError(f"the head size must be even for RoPE, got {self.head_size}")
        if not self.windows or any(w is not None and w < 1 for w in self.windows):
            raise ValueError(f"windows must be positive or None, got {self.windows}")

    @property
    def head_size(self) -> int:
        """D: `head_dim`, or C / H."""
        return self.d_model // self.n_heads if self.head_dim is None else self.head_dim

    def window(self, layer: int) -> int | None:
        """How many positions a query of this layer may look at; None if at all."""
        return self.windows[layer % len(self.windows)]

    def has_experts(self, layer: int) -> bool:
        """Whether this layer's FFN is a mixture of experts."""
        return self.experts is not None and layer >= self.experts.n_dense_layers

    def sizes(self) -> dict[str, int | float]:
        """The numbers that every decoder has, by name."""
        names = ["vocab_size", "context_length", "n_layers", "d_model", "n_heads", "n_kv_heads",
                 "d_ff", "rope_base", "norm_eps"]  # fmt: skip
        return {name: getattr(self, name) for name in names}
