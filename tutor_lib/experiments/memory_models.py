"""The networks whose memory is compared: language models of equal size, and encoder-decoders."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import nn

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

Model = TypeVar("Model", bound=nn.Module)


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


@dataclass(frozen=True)
class Contestant(Generic[Model]):
    """A network to be made for a vocabulary, and the learning rate it is trained with."""

    make: Callable[[int], Model]
    learning_rate: float = 3e-3


# The others learn the task with 3e-3. The RNN does not; of 3e-3, 1e-3 and 3e-4 the second is its
# best.
MODELS = {
    "RNN": Contestant(rnn, 1e-3),
    "LSTM": Contestant(lstm),
    "Mamba-2": Contestant(mamba2),
    "RWKV": Contestant(rwkv),
    "transformer": Contestant(transformer),
}
# Attention has weights of its own, so the one without it is wider.
REVERSERS: dict[str, Contestant[RNNSeq2Seq]] = {
    "one vector": Contestant(lambda vocab_size: RNNSeq2Seq(vocab_size, 56)),
    "attention": Contestant(lambda vocab_size: AttentiveSeq2Seq(vocab_size, 48)),
}
