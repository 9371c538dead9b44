"""One recurrent network reads, another writes: through one vector, or with attention to all."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from tutor_lib.model.layers import check_ids, check_mask
from tutor_lib.rivals.rnn import LSTM, State


class Source(NamedTuple):
    """What the encoder has made of S tokens."""

    state: State  # after the last one
    annotations: Float[Tensor, "B S C"]  # h after each
    keys: Float[Tensor, "B S C"]  # what the alignment compares with; without one, the annotations
    mask: Bool[Tensor, "B S"] | None


class RNNSeq2Seq(nn.Module):
    """An LSTM reads the source; another goes on from its last state and writes the target.

    Sutskever et al. 2014, §2 (arXiv:1409.3215). All that the decoder knows of the source, long
    or short, has to fit into 2C numbers. One layer here, where the paper has four; whoever wants
    its trick of a reversed source reverses it. In training the decoder reads the true target,
    whatever it would have written itself: teacher forcing.

    Raises ValueError if a size is not positive.
    """

    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__()
        if vocab_size < 1 or d_model < 1:
            raise ValueError(f"sizes must be positive, got {vocab_size} and {d_model}")
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.encoder, self.decoder = LSTM(d_model), LSTM(d_model)
        self.unembedding = nn.Linear(d_model, vocab_size)

    def forward(
        self,
        source: Int[Tensor, "B S"],
        target: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B S"] | None = None,
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `target`.

        Raises ValueError as `encode` and `decode` do, or if there are more or fewer sources.
        """
        if source.size(0) != target.size(0):
            raise ValueError(f"{source.size(0)} sources do not fit {target.size(0)} targets")
        read = self.encode(source, mask)
        return self.decode(target, read, read.state)[0]

    def encode(self, source: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None = None) -> Source:
        """Read the source. `mask` is True at tokens and False at what fills a row up.

        Raises ValueError if an id is outside the vocabulary, the source empty, or the mask of
        another shape or False all along a row.
        """
        if mask is not None:
            check_mask(mask, source)
        x, begin = self.embed(source), self.encoder.new_state(source.size(0))
        annotations, state = self.encoder.resume(x, begin, mask)
        return Source(state, annotations, annotations, mask)

    def decode(
        self, ids: Int[Tensor, "B T"], source: Source, state: State
    ) -> tuple[Float[Tensor, "B T V"], State]:
        """Logits for the token after each of `ids`, and the state after the last.

        `state` is `source.state` at first.

        Raises ValueError if an id is outside the vocabulary or there is none.
        """
        h, state = self.decoder.resume(self.embed(ids), state)
        return self.unembedding(h), state

    def given(
        self, source: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None = None
    ) -> "Conditioned":
        """The decoder as a language model that knows `source`, for `tutor_lib.predict.generate`.

        Raises ValueError as `encode` does.
        """
        return Conditioned(self, self.encode(source, mask))

    def embed(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
        """The vectors of `ids`.

        Raises ValueError if there is none, or one is outside the vocabulary.
        """
        if not ids.size(1):
            raise ValueError(f"the text is empty: {tuple(ids.shape)}")
        check_ids(ids, self.embedding.num_embeddings)
        return self.embedding(ids)


@dataclass(frozen=True)
class Conditioned:
    """A `LanguageModel` of texts that answer to one source each. Its one cache is the state."""

    model: RNNSeq2Seq
    source: Source

    def __call__(
        self, ids: Int[Tensor, "B T"], caches: list[State] | None = None
    ) -> Float[Tensor, "B T V"]:
        """Logits for the token after each of `ids`, which continue what `caches` hold."""
        caches = self.new_caches(ids.size(0)) if caches is None else caches
        logits, caches[0] = self.model.decode(ids, self.source, caches[0])
        return logits

    def new_caches(self, batch: int, capacity: int | None = None) -> list[State]:
        """The state after the source. It never grows, so any `capacity` will do."""
        return [self.source.state]


class Alignment(nn.Module, ABC):
    """How well the decoder's state s matches each annotation h_j, and their mean by that.

    α = softmax(scores), c = Σ_j α_j h_j: Bahdanau et al. 2014, eq. 5 and 6 (arXiv:1409.0473).
    The subclasses say what the scores are.
    """

    def keys(self, annotations: Float[Tensor, "B S C"]) -> Float[Tensor, "B S C"]:
        """What can be computed once for the whole target."""
        return annotations

    @abstractmethod
    def scores(
        self, state: Float[Tensor, "B C"], keys: Float[Tensor, "B S C"]
    ) -> Float[Tensor, "B S"]:
        """How well the state matches each key."""

    def forward(
        self, state: Float[Tensor, "B C"], source: Source
    ) -> tuple[Float[Tensor, "B C"], Float[Tensor, "B S"]]:
        """The context c and the weights α. What fills a row up weighs nothing."""
        scores = self.scores(state, source.keys)
        if source.mask is not None:
            scores = scores.masked_fill(~source.mask, float("-inf"))
        weights = scores.softmax(dim=-1)
        return (weights[:, None] @ source.annotations)[:, 0], weights


class AdditiveAlignment(Alignment):
    """vᵀ tanh(W s + U h_j): Bahdanau et al. 2014, §A.1.2 (arXiv:1409.0473)."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.state_proj = nn.Linear(d_model, d_model, bias=False)  # W
        self.key_proj = nn.Linear(d_model, d_model, bias=False)  # U
        self.score_proj = nn.Linear(d_model, 1, bias=False)  # v

    def keys(self, annotations: Float[Tensor, "B S C"]) -> Float[Tensor, "B S C"]:
        """U h_j."""
        return self.key_proj(annotations)

    def scores(
        self, state: Float[Tensor, "B C"], keys: Float[Tensor, "B S C"]
    ) -> Float[Tensor, "B S"]:
        """vᵀ tanh(W s + keys)."""
        return self.score_proj(torch.tanh(self.state_proj(state)[:, None] + keys))[..., 0]


class DotAlignment(Alignment):
    """sᵀ h_j: Luong et al. 2015, §3.1 (arXiv:1508.04025). The root of Q Kᵀ; it learns nothing."""

    def __init__(self, d_model: int) -> None:
        super().__init__()

    def scores(
        self, state: Float[Tensor, "B C"], keys: Float[Tensor, "B S C"]
    ) -> Float[Tensor, "B S"]:
        """The dot product of the state and each key."""
        return (keys @ state[..., None])[..., 0]


class GeneralAlignment(DotAlignment):
    """sᵀ W h_j: the same section."""

    def __init__(self, d_model: int) -> None:
        super().__init__(d_model)
        self.key_proj = nn.Linear(d_model, d_model, bias=False)  # W

    def keys(self, annotations: Float[Tensor, "B S C"]) -> Float[Tensor, "B S C"]:
        """W h_j."""
        return self.key_proj(annotations)


class AttentiveSeq2Seq(RNNSeq2Seq):
    """The same, but before each token the decoder looks back at all of the source.

        c_i = Σ_j α_ij h_j, α_ij from s_{i-1} and h_j
        s_i = LSTM(s_{i-1}, [y_{i-1}; c_i]),    logits = W [s_i; c_i] + b

    Bahdanau et al. 2014, §3.1 (arXiv:1409.0473). There the source is read in both directions by
    gated units, and a maxout layer stands before the logits; here attention is the only
    difference from `RNNSeq2Seq`, so that it can be told what attention does.

    Raises ValueError if a size is not positive.
    """

    def __init__(
        self, vocab_size: int, d_model: int, alignment: type[Alignment] = AdditiveAlignment
    ) -> None:
        super().__init__(vocab_size, d_model)
        self.alignment = alignment(d_model)
        self.decoder = LSTM(d_model, 2 * d_model)
        self.unembedding = nn.Linear(2 * d_model, vocab_size)

    def encode(self, source: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None = None) -> Source:
        """Read the source. Takes and raises what it does without attention."""
        read = super().encode(source, mask)
        return read._replace(keys=self.alignment.keys(read.annotations))

    def decode(
        self, ids: Int[Tensor, "B T"], source: Source, state: State
    ) -> tuple[Float[Tensor, "B T V"], State]:
        """Logits for the token after each of `ids`, and the state after the last.

        Raises ValueError if an id is outside the vocabulary or there is none.
        """
        logits, state, _ = self.align(ids, source, state)
        return logits, state

    def align(
        self, ids: Int[Tensor, "B T"], source: Source, state: State
    ) -> tuple[Float[Tensor, "B T V"], State, Float[Tensor, "B T S"]]:
        """The same with the weights α: where in the source each token was looked for."""
        seen, looks = [], []
        for x in self.embed(ids).unbind(1):  # (B, C)
            context, weights = self.alignment(state[0], source)
            h, state = self.decoder.step(torch.cat((x, context), dim=-1), state)
            seen.append(torch.cat((h, context), dim=-1))
            looks.append(weights)
        return self.unembedding(torch.stack(seen, dim=1)), state, torch.stack(looks, dim=1)
