"""The models that the book compares: their published sizes, and what follows from them.

A model whose makers tell no sizes has no config. Everything else in the book's table is
computed here from the config, by building the decoder on the meta device, where tensors have
shapes and no numbers.
"""

from dataclasses import dataclass
from functools import cache
from math import prod

import torch

from tutor_lib.attention.latent import LatentSizes
from tutor_lib.embed.rope_scaling import Llama3Scaling, YaRNScaling, yarn_magnitude
from tutor_lib.model.config import DecoderConfig, ExpertSizes
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import GPT2, QWEN2


@dataclass(frozen=True)
class ZooModel:
    """A published model. `config` is None where its makers disclose no sizes."""

    name: str
    maker: str
    year: int
    source: str
    config: DecoderConfig | None = None
    published_total: float | None = None  # parameters, as its makers round them
    published_active: float | None = None  # those that work on one token, where they differ


ZOO = [
    ZooModel(
        "GPT-2", "OpenAI", 2019, "Radford et al. 2019, released checkpoint",
        DecoderConfig(50_257, 1024, 12, 768, 12, 12, 3072, family=GPT2), 124e6,
    ),
    ZooModel(
        "GPT-3", "OpenAI", 2020, "Brown et al. 2020, table 2.1 (arXiv:2005.14165)",
        DecoderConfig(50_257, 2048, 96, 12_288, 96, 96, 4 * 12_288, family=GPT2), 175e9,
    ),
    ZooModel(
        "Llama 2-7B", "Meta", 2023, "Touvron et al. 2023 (arXiv:2307.09288), released config",
        DecoderConfig(32_000, 4096, 32, 4096, 32, 32, 11_008, tied=False), 6.74e9,
    ),
    ZooModel(
        "Llama 3-8B", "Meta", 2024, "Llama Team 2024, table 3 (arXiv:2407.21783), released config",
        DecoderConfig(
            128_256, 8192, 32, 4096, 32, 8, 14_336, rope_base=500_000.0, tied=False
        ),
        8.03e9,
    ),
    ZooModel(
        "Llama 3.1 405B", "Meta", 2024, "Llama Team 2024, table 3 (arXiv:2407.21783)",
        DecoderConfig(
            128_256, 131_072, 126, 16_384, 128, 8, 53_248, rope_base=500_000.0, tied=False,
            rope_scaling=Llama3Scaling(8.0, 8192),
        ),
        405e9,
    ),
    ZooModel(
        "Mistral Large 2", "Mistral AI", 2024, "released config, Mistral-Large-Instruct-2407",
        DecoderConfig(
            32_768, 131_072, 88, 12_288, 96, 8, 28_672, rope_base=1_000_000.0, tied=False
        ),
        123e9,
    ),
    ZooModel(
        "Mixtral 8x22B", "Mistral AI", 2024, "released config, Mixtral-8x22B-v0.1",
        DecoderConfig(
            32_000, 65_536, 56, 6144, 48, 8, 16_384, rope_base=1_000_000.0, tied=False,
            experts=ExpertSizes(8, 2, 16_384),
        ),
        141e9, 39e9,
    ),
    ZooModel(
        "DeepSeek-V3", "DeepSeek", 2024,
        "DeepSeek-AI 2024, §4.2 (arXiv:2412.19437); the weights' README",
        DecoderConfig(
            129_280, 163_840, 61, 7168, 128, 128, 18_432, norm_eps=1e-6, head_dim=192, tied=False,
            rope_scaling=YaRNScaling(40.0, 4096, magnitude=1.0),
            score_scale=yarn_magnitude(40.0) ** 2 * 192**-0.5,
            latent=LatentSizes(q_rank=1536, kv_rank=512, nope_size=128, rope_size=64,
                               value_size=128),
            experts=ExpertSizes(256, 8, 2048, n_shared=1, n_dense_layers=3, n_groups=8,
                                n_active_groups=4, sigmoid=True, scale=2.5),
        ),
        671e9, 36.6e9,
    ),
    ZooModel(
        "Qwen 2.5 72B", "Alibaba", 2024, "Qwen Team 2024 (arXiv:2412.15115), released config",
        DecoderConfig(
            152_064, 131_072, 80, 8192, 64, 8, 29_568, rope_base=1_000_000.0, norm_eps=1e-6,
            tied=False, family=QWEN2,
        ),
        72.7e9,
    ),
    ZooModel("GPT-4", "OpenAI", 2023, "arXiv:2303.08774, §2: no sizes are given"),
    ZooModel("Claude 3", "Anthropic", 2024, "model card: no sizes are given"),
    ZooModel("Gemini 1.5", "Google", 2024, "arXiv:2403.05530: no sizes are given"),
]  # fmt: skip


@dataclass(frozen=True)
class ParameterCount:
    """Parameters: all of them, and those that work on one token."""

    total: int
    active: int


def count_parameters(config: DecoderConfig) -> ParameterCount:
    """Count them on the decoder itself.

    Of E experts a token meets k, so (E - k)/E of their weights rest. So do the tables from which
    a token takes its row: learned positions, and the embedding if it does not unembed too.
    """
    sizes = {name: prod(shape) for name, shape in _shapes(config).items()}
    total, resting = sum(sizes.values()), 0
    if config.experts is not None:
        of_experts = sum(n for name, n in sizes.items() if ".experts." in name)
        idle = config.experts.n_experts - config.experts.n_active
        resting = of_experts * idle // config.experts.n_experts
    resting += 0 if config.tied else sizes["embedding.weight"]
    resting += sizes.get("positions.table.weight", 0)
    return ParameterCount(total, total - resting)


def flops_per_token(config: DecoderConfig, context: int) -> int:
    """Floating-point operations of one forward pass for the last of `context` tokens.

    2 for each weight that multiplies, and in each layer, for each head and each position looked
    at, 2 · (size of a key + size of a value). Norms, softmax and the like are left out, as in
    Kaplan et al. 2020, §2.1 (arXiv:2001.08361).

    Raises ValueError unless 1 ≤ context ≤ the model's.
    """
    _check_length(config, context)
    multiplying = count_parameters(config).active - _added(config)
    key, value = config.head_size, config.head_size
    if config.latent is not None:
        key = config.latent.nope_size + config.latent.rope_size
        value = config.latent.value_size
    seen = sum(min(context, config.window(i) or context) for i in range(config.n_layers))
    meeting = 2 * config.n_heads * (key + value) * seen
    return 2 * multiplying + meeting


def cache_bytes(config: DecoderConfig, length: int, bytes_each: int = 2) -> int:
    """Bytes that a cache must hold after `length` tokens: 2 · K · D a layer and token.

    Latent attention holds kv_rank + rope_size numbers instead, a layer with a window W no more
    than W tokens.

    Raises ValueError unless 1 ≤ length ≤ the model's context.
    """
    _check_length(config, length)
    numbers = 2 * config.n_kv_heads * config.head_size
    if config.latent is not None:
        numbers = config.latent.kv_rank + config.latent.rope_size
    tokens = sum(min(length, config.window(i) or length) for i in range(config.n_layers))
    return numbers * tokens * bytes_each


def _added(config: DecoderConfig) -> int:
    """Gains and biases: they are multiplied or added once, and not counted."""
    return sum(prod(shape) for shape in _shapes(config).values() if len(shape) < 2)


@cache
def _shapes(config: DecoderConfig) -> dict[str, torch.Size]:
    with torch.device("meta"):
        return {name: p.shape for name, p in Decoder(config).named_parameters()}


def _check_length(config: DecoderConfig, length: int) -> None:
    if not 1 <= length <= config.context_length:
        raise ValueError(f"need 1 ≤ length ≤ {config.context_length}, got {length}")
