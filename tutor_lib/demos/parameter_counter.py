"""Where a decoder's parameters live, for published models and for sizes of one's own."""

from functools import cache
from typing import Any

import torch
import traitlets
from torch import nn

from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import bar_chart
from tutor_lib.demos.weights import storyteller
from tutor_lib.ffn.dense import GELUTanhFeedForward, SwiGLUFeedForward
from tutor_lib.ffn.norm import LayerNorm, RMSNorm
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.zoo import ZOO

LLAMA_3_8B = next(m.config for m in ZOO if m.name == "Llama 3-8B")
FROM_ZOO = ("GPT-2", "GPT-3", "Llama 2-7B")
SIZES = ("n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size", "learned")


class ParameterCounter(Demo):
    """The sizes of a decoder; its parameters by part, as shares and in bytes.

    `model` names one of `models` and fills in its sizes; any of them may then be changed.
    `learned` counts learned positions, 0 with RoPE. `biased` gives a bias to every norm,
    attention's projections and an FFN without a gate. `bet` is the reader's, in per cent.
    """

    PRESET_TRAIT = "model"

    model = traitlets.Unicode("GPT-2").tag(sync=True)
    models = traitlets.Dict().tag(sync=True)
    n_layers = traitlets.Int(12, min=1, max=200).tag(sync=True)
    d_model = traitlets.Int(768, min=1, max=32_768).tag(sync=True)
    n_heads = traitlets.Int(12, min=1, max=256).tag(sync=True)
    n_kv_heads = traitlets.Int(12, min=1, max=256).tag(sync=True)
    d_ff = traitlets.Int(3072, min=1, max=131_072).tag(sync=True)
    vocab_size = traitlets.Int(50_257, min=1, max=300_000).tag(sync=True)
    learned = traitlets.Int(1024, min=0, max=131_072).tag(sync=True)
    tied = traitlets.Int(1, min=0, max=1).tag(sync=True)
    gated = traitlets.Int(0, min=0, max=1).tag(sync=True)
    biased = traitlets.Int(1, min=0, max=1).tag(sync=True)
    bet = traitlets.Int(50, min=0, max=100).tag(sync=True)

    def __init__(self, preset: str | None = None, **traits: Any) -> None:
        name = preset or traits.get("model", "GPT-2")
        super().__init__(preset, **{**published().get(name, {}), **traits})
        self.observe(self._fill_in, "model")

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return {name: name for name in published()}

    @traitlets.default("models")
    def _models(self) -> dict[str, dict[str, int]]:
        return published()

    def _fill_in(self, change: Any) -> None:
        """As the page does when a model is chosen."""
        for name, size in published().get(change["new"], {}).items():
            setattr(self, name, size)

    def picture(self) -> str:
        """Each part's share of all parameters."""
        sizes = {name: getattr(self, name) for name in (*SIZES, "tied", "gated", "biased")}
        parts = count_parts(**sizes)
        total = sum(parts.values())
        rows = [(name, count / total) for name, count in parts.items()]
        return bar_chart(f"Where the {total:,} parameters live ({self.model})", rows)


@cache
def published() -> dict[str, dict[str, int]]:
    """The sizes of the models that can be chosen."""
    configs = {m.name: m.config for m in ZOO if m.name in FROM_ZOO}
    configs |= {"Llama-3-8B": LLAMA_3_8B, "storyteller": storyteller()[0].config}
    return {name: _sizes(config) for name, config in configs.items() if config is not None}


def _sizes(config: DecoderConfig) -> dict[str, int]:
    family = config.family
    return {name: getattr(config, name) for name in SIZES if name != "learned"} | {
        "learned": 0 if family.rotary else config.context_length,
        "tied": int(config.tied),
        "gated": int(issubclass(family.ffn, SwiGLUFeedForward)),
        "biased": int(family.o_bias),
    }


def count_parts(
    n_layers: int,
    d_model: int,
    n_heads: int,
    n_kv_heads: int,
    d_ff: int,
    vocab_size: int,
    learned: int,
    tied: int,
    gated: int,
    biased: int,
) -> dict[str, int]:
    """Parameters by part, counted on the library's modules on the meta device.

    Raises ValueError if n_heads does not divide d_model, or n_kv_heads does not divide n_heads.
    """
    has_bias = bool(biased)
    with torch.device("meta"):
        attention = GroupedQueryAttention(
            d_model, n_heads, n_kv_heads, qkv_bias=has_bias, o_bias=has_bias
        )
        ffn = SwiGLUFeedForward(d_model, d_ff) if gated else GELUTanhFeedForward(
            d_model, d_ff, bias=has_bias
        )  # fmt: skip
        norm = LayerNorm(d_model) if biased else RMSNorm(d_model)
    return {
        "token table": vocab_size * d_model,
        "positions": learned * d_model,
        "attention": n_layers * _count(attention),
        "FFN": n_layers * _count(ffn),
        "norms": (2 * n_layers + 1) * _count(norm),
        "unembedding": 0 if tied else vocab_size * d_model,
    }


def _count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
