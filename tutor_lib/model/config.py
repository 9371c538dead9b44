"""The sizes of a decoder."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class DecoderConfig:
    """The sizes of a decoder-only transformer, checked when made.

    Raises ValueError if a size is not positive, H does not divide C, K does not divide H, or
    the head size C/H is odd (RoPE turns pairs).
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

    def __post_init__(self) -> None:
        for field in fields(self):
            if not getattr(self, field.name) > 0:
                raise ValueError(f"{field.name} must be positive, got {getattr(self, field.name)}")
        if self.d_model % self.n_heads:
            raise ValueError(f"n_heads={self.n_heads} does not divide d_model={self.d_model}")
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_kv_heads={self.n_kv_heads} does not divide n_heads={self.n_heads}")
        if self.head_size % 2:
            raise ValueError(f"the head size must be even for RoPE, got {self.head_size}")

    @property
    def head_size(self) -> int:
        """D = C / H."""
        return self.d_model // self.n_heads
