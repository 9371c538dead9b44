"""What the map of an architecture tells of each part: what it does, its shapes, its parameters."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import torch
from torch import nn

from tutor_lib.ffn.norm import RMSNorm
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.encoder import EncoderConfig, MaskedLanguageModel
from tutor_lib.model.layers import StackConfig
from tutor_lib.model.seq2seq import Transformer, TransformerConfig
from tutor_lib.model.zoo import ZOO
from tutor_lib.train.storyteller import CONFIG

DECODER, ENCODER, BOTH = "Decoder only", "Encoder only", "Encoder–decoder"


@dataclass(frozen=True)
class Architecture:
    """A model that the map can show: its kind, its sizes and the module that has them."""

    name: str
    kind: str
    source: str
    config: DecoderConfig | StackConfig
    module: Callable[[Any], nn.Module]

    @property
    def rotary(self) -> bool:
        """Whether positions enter by RoPE, in attention; else they are added to the vectors."""
        return isinstance(self.config, DecoderConfig) and self.config.family.rotary

    @property
    def pre_norm(self) -> bool:
        """Whether a norm stands on each branch; else on the residual stream itself."""
        return self.kind == DECODER

    @property
    def norm_name(self) -> str:
        """RMSNorm or LayerNorm."""
        rms = isinstance(self.config, DecoderConfig) and self.config.family.norm is RMSNorm
        return "RMSNorm" if rms else "LayerNorm"

    @property
    def sizes(self) -> dict[str, int]:
        """The letters of the book, as numbers."""
        c = self.config
        kv_heads = c.n_kv_heads if isinstance(c, DecoderConfig) else c.n_heads
        return {"V": c.vocab_size, "C": c.d_model, "L": c.n_layers, "H": c.n_heads,
                "K": kv_heads, "D": c.head_size, "F": c.d_ff}  # fmt: skip


def _architectures() -> list[Architecture]:
    bert = EncoderConfig(
        vocab_size=30_522, context_length=512, n_layers=12, d_model=768, n_heads=12, d_ff=3072
    )
    base = TransformerConfig(
        vocab_size=37_000, context_length=512, n_layers=6, d_model=512, n_heads=8, d_ff=2048
    )
    zoo = [m for m in ZOO if m.name in ("GPT-2", "Llama 2-7B", "Llama 3-8B")]
    return [
        Architecture("storyteller", DECODER, "trained for this book", CONFIG, Decoder),
        *(Architecture(m.name, DECODER, m.source, m.config, Decoder) for m in zoo if m.config),
        Architecture(
            "BERT base", ENCODER, "Devlin et al. 2019 (arXiv:1810.04805), released config",
            bert, MaskedLanguageModel,
        ),
        Architecture(
            "Transformer base", BOTH,
            "Vaswani et al. 2017, table 3 (arXiv:1706.03762); about 37,000 tokens, §5.1",
            base, Transformer,
        ),
    ]  # fmt: skip


ARCHITECTURES = {model.name: model for model in _architectures()}

# Which parameters belong to a node of the map: the names of the library's modules.
_DECODER_NAMES = {
    "embedding": r"embedding\.", "positions": r"positions\.",
    "norm1": r"blocks\.\d+\.attention_norm", "attention": r"blocks\.\d+\.attention\.",
    "norm2": r"blocks\.\d+\.ffn_norm", "ffn": r"blocks\.\d+\.ffn\.",
    "last": r"final_norm", "unembedding": r"unembedding",
}  # fmt: skip
_ENCODER_NAMES = {
    "embedding": r"encoder\.embedding\.", "positions": r"encoder\.(positions|segments)",
    "norm0": r"encoder\.embedding_norm", "attention": r"encoder\.blocks\.\d+\.attention",
    "norm1": r"encoder\.blocks\.\d+\.add_attention", "ffn": r"encoder\.blocks\.\d+\.ffn",
    "norm2": r"encoder\.blocks\.\d+\.add_ffn", "unembedding": r"dense|norm|bias",
}  # fmt: skip
_BOTH_NAMES = {
    "source embedding": r"embedding\.",
    "source attention": r"encoder\.\d+\.attention", "source norm1": r"encoder\.\d+\.add_attention",
    "source ffn": r"encoder\.\d+\.ffn", "source norm2": r"encoder\.\d+\.add_ffn",
    "attention": r"decoder\.\d+\.attention", "norm1": r"decoder\.\d+\.add_attention",
    "cross": r"decoder\.\d+\.cross", "norm3": r"decoder\.\d+\.add_cross",
    "ffn": r"decoder\.\d+\.ffn", "norm2": r"decoder\.\d+\.add_ffn",
}  # fmt: skip
NAMES = {DECODER: _DECODER_NAMES, ENCODER: _ENCODER_NAMES, BOTH: _BOTH_NAMES}


@cache
def parameters(name: str) -> dict[str, torch.Size]:
    """The shape of every parameter of an architecture; on the meta device, without numbers."""
    model = ARCHITECTURES[name]
    with torch.device("meta"):
        return {key: p.shape for key, p in model.module(model.config).named_parameters()}


def owned(model: Architecture, node: str) -> dict[str, torch.Size]:
    """The parameters of one node of the map, in all layers."""
    pattern = NAMES[model.kind].get(node)
    if pattern is None:
        return {}
    return {key: s for key, s in parameters(model.name).items() if re.match(pattern, key)}


def facts(model: Architecture, node: str) -> dict[str, Any]:
    """What the panel says of a node: a sentence, shapes in letters, parameters."""
    mine = owned(model, node)
    first = {key: list(shape) for key, shape in mine.items() if not re.search(r"\.[1-9]\d*\.", key)}
    part = part_of(node)
    return {
        "part": part,
        "does": _does(model, node),
        "shared": _shared(model, node),
        "reads": _reads(model, node),
        "writes": _writes(model, node),
        "inside": _inside(model, node),
        "mixes": part in ("attention", "cross"),
        "chapter": _CHAPTERS[part],
        "tensors": [[re.sub(r"^.*\.\d+\.|^encoder\.", "", key), s] for key, s in first.items()],
        "count": sum(prod(shape) for shape in mine.values()),
        "layers": model.config.n_layers if len(mine) > len(first) else 1,
    }


def part_of(node: str) -> str:
    """The kind of part that a node is: `source norm2` is a norm."""
    name = re.sub(r"\d", "", node.removeprefix("source "))
    return "norm" if name == "last" else name


_CHAPTERS = {
    "input": "tokenize", "embedding": "embed", "positions": "embed", "residual": "ffn",
    "norm": "ffn", "attention": "attention", "cross": "attention", "ffn": "ffn",
    "unembedding": "predict", "output": "predict",
}  # fmt: skip


def length_of(node: str) -> str:
    """The letter of the text's length: the encoder's text is the source, S tokens long."""
    return "S" if node.startswith("source ") else "T"


def _reads(model: Architecture, node: str) -> list[str]:
    """In words what a part reads, then its shape in letters."""
    length, part = length_of(node), part_of(node)
    if part == "input":
        return ["a text"]
    if part == "positions":
        turned = ["queries, and keys of K heads", "B", "H", "T", "D"]
        return turned if model.rotary else ["the number of each place", length]
    if part == "cross":
        return ["the target’s stream for q, the source’s for k and v", "B", "S", "C"]
    words = {"embedding": "token ids", "output": "logits", "residual": "all that is added to it"}
    if part in ("attention", "ffn"):
        words[part] = "a normalised copy of the stream" if model.pre_norm else "the stream"
    if part == "unembedding" and model.pre_norm:
        words[part] = "the stream, normalised"
    letters = {"embedding": [], "output": ["V"]}.get(part, ["C"])
    return [words.get(part, "the stream"), "B", length, *letters]


def _writes(model: Architecture, node: str) -> list[str]:
    """In words what a part writes, then its shape in letters."""
    length, part = length_of(node), part_of(node)
    if part == "positions" and model.rotary:
        return ["the same, turned", "B", "H", "T", "D"]
    words = {
        "input": "token ids", "embedding": "a vector a token", "unembedding": "logits",
        "output": "probabilities", "residual": "itself, for every part to read",
        "norm": "a rescaled copy" if model.pre_norm else "the stream, rescaled",
    }  # fmt: skip
    letters = {"input": [], "unembedding": ["V"], "output": ["V"]}.get(part, ["C"])
    return [words.get(part, "a change, added to the stream"), "B", length, *letters]


def _inside(model: Architecture, node: str) -> list[tuple[str, list[str]]]:
    """The shapes between a part's input and its output."""
    asks, part = length_of(node), part_of(node)
    asked = "S" if part == "cross" else asks
    if part in ("attention", "cross"):
        return [
            ("queries q", ["B", "H", asks, "D"]),
            ("keys k", ["B", "K", asked, "D"]),
            ("values v", ["B", "K", asked, "D"]),
            ("weights", ["B", "H", asks, asked]),
            ("mixed values, heads side by side", ["B", asks, "H·D"]),
        ]
    return [("hidden", ["B", asks, "F"])] if part == "ffn" else []


def _shared(model: Architecture, node: str) -> str:
    """Why a node that multiplies has no parameters of its own, or not all it uses."""
    tied = model.kind != DECODER or getattr(model.config, "tied", True)
    if part_of(node) == "unembedding" and tied:
        own = ", after a matrix and a norm of its own" if model.kind == ENCODER else ""
        return f"It uses the embedding’s table once more{own}: the two are tied."
    if model.kind == BOTH and node == "embedding":
        return "Both texts share one table, counted at the source."
    return ""


def _does(model: Architecture, node: str) -> str:
    part = part_of(node)
    if part == "positions":
        return _POSITIONS["rotary" if model.rotary else model.kind]
    if part in ("attention", "output"):
        kind = ENCODER if node.startswith("source ") else model.kind
        return _SIGHT[part]["both ways" if kind == ENCODER else "back"]
    if part == "norm":
        rms = model.norm_name == "RMSNorm"
        how = "root mean square" if rms else "mean and standard deviation"
        learned = "gain" if rms else "gain and bias"
        return f"Rescales each token’s vector by its own {how}, then by a learned {learned}."
    if part == "residual" and not model.pre_norm:
        return f"{_DOES[part]} Here a norm rescales each sum."
    return _DOES[part]


_DOES = {
    "input": "The tokenizer has cut the text; each token is a whole number below V.",
    "embedding": "Looks up one row of a table for each token: C numbers that can be learned.",
    "residual": "One vector for each token, from the embedding to the end. Every part reads it; "
    "attention and FFN only add to it.",
    "cross": "Queries from the target meet keys and values from the source. Nowhere else does the "
    "decoder see the source.",
    "ffn": "Widens each token’s vector to F numbers, bends it, and brings it back to C.",
    "unembedding": "Compares each token’s vector with every token of the vocabulary: V logits.",
}
_POSITIONS = {
    "rotary": "RoPE turns each query and key by an angle that grows with its position. Nothing is "
    "added to the stream, and nothing is learned.",
    DECODER: "Adds a learned vector for each position: attention alone cannot tell the order.",
    ENCODER: "Adds a learned vector for each position, and one for each of two segments of text.",
    BOTH: "Adds fixed sines and cosines of each position. Nothing is learned.",
}
_SIGHT = {
    "attention": {
        "back": "Each token’s query is compared with the keys of the tokens up to itself. The "
        "weights mix their values.",
        "both ways": "Each token’s query is compared with the keys of all tokens, before it and "
        "after it. The weights mix their values.",
    },
    "output": {
        "back": "Softmax makes probabilities of the logits: for each position, the token after it. "
        "To write, draw one from the last row, append it, and go round again.",
        "both ways": "Softmax makes probabilities of the logits: for each position, the token "
        "that belongs there. Only hidden places are asked for.",
    },
}
