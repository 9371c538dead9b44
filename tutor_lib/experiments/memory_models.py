"""The networks whose memory is compared: language models of equal size, and encoder-decoders."""

from collections.abc import Callable

from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.ffn.dense import SwiGLUFeedForward
from tutor_lib.ffn.norm import LayerNorm
from tutor_lib.rivals.attention import CausalAttention
from tutor_lib.rivals.language_model import LanguageModel
from tutor_lib.rivals.mamba2 import Mamba2, Mamba2Config
from tutor_lib.rivals.rnn import LSTM, RNN
from tutor_lib.rivals.rwkv import ChannelMixing, TimeMixing
from tutor_lib.rivals.seq2seq import AttentiveSeq2Seq, RNNSeq2Seq

CONTEXT = 512  # what RoPE's table holds; nothing else has a limit


def rnn(vocab_size: int) -> LanguageModel:
    """Two layers of h = tanh(W x + U h + b)."""
    return LanguageModel(vocab_size, 96, [RNN(96), RNN(96)])


def lstm(vocab_size: int) -> LanguageModel:
    """Two layers of cells with gates."""
    return LanguageModel(vocab_size, 48, [LSTM(48), LSTM(48)])


def mamba2(vocab_size: int) -> LanguageModel:
    """Two layers of state spaces, 6 heads of 16 × 32 numbers each."""
    sizes = Mamba2Config(48, n_heads=6, head_size=16, state_size=32, chunk=32)
    return LanguageModel(vocab_size, 48, [Mamba2(sizes), Mamba2(sizes)])


def rwkv(vocab_size: int) -> LanguageModel:
    """Two layers of RWKV-4, each time mixing and channel mixing."""
    layers = [part for _ in range(2) for part in (TimeMixing(48), ChannelMixing(48, 72))]
    return LanguageModel(vocab_size, 48, layers, LayerNorm)


def transformer(vocab_size: int) -> LanguageModel:
    """Two layers of attention with RoPE, and of SwiGLU."""
    rotary = RotaryEmbedding(12, CONTEXT)
    layers = [
        part
        for _ in range(2)
        for part in (CausalAttention(48, 4, 4, rotary), SwiGLUFeedForward(48, 64))
    ]
    return LanguageModel(vocab_size, 48, layers)


MODELS: dict[str, Callable[[int], LanguageModel]] = {
    "RNN": rnn, "LSTM": lstm, "Mamba-2": mamba2, "RWKV": rwkv, "transformer": transformer,
}  # fmt: skip
# Attention has weights of its own, so the one without it is wider.
REVERSERS: dict[str, Callable[[int], RNNSeq2Seq]] = {
    "one vector": lambda vocab_size: RNNSeq2Seq(vocab_size, 56),
    "attention": lambda vocab_size: AttentiveSeq2Seq(vocab_size, 48),
}
