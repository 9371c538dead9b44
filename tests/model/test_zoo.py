"""The zoo's counts against `transformers` on the meta device, published numbers and a counter."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    Qwen2Config,
)

from tutor_lib.attention.latent import LatentSizes
from tutor_lib.model.config import DecoderConfig, ExpertSizes
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.zoo import ZOO, cache_bytes, count_parameters, flops_per_token

DISCLOSED = {m.name: m for m in ZOO if m.config is not None}


def llama_sizes(vocab, width, layers, heads, kv_heads, hidden) -> dict:
    return {"vocab_size": vocab, "hidden_size": width, "num_hidden_layers": layers,
            "num_attention_heads": heads, "num_key_value_heads": kv_heads,
            "intermediate_size": hidden, "tie_word_embeddings": False}  # fmt: skip


PEERS = {
    "GPT-2": GPT2Config(),
    "GPT-3": GPT2Config(n_embd=12_288, n_layer=96, n_head=96, n_positions=2048),
    "Llama 2-7B": LlamaConfig(**llama_sizes(32_000, 4096, 32, 32, 32, 11_008)),
    "Llama 3-8B": LlamaConfig(**llama_sizes(128_256, 4096, 32, 32, 8, 14_336)),
    "Llama 3.1 405B": LlamaConfig(**llama_sizes(128_256, 16_384, 126, 128, 8, 53_248)),
    "Mistral Large 2": MistralConfig(**llama_sizes(32_768, 12_288, 88, 96, 8, 28_672)),
    "Mixtral 8x22B": MixtralConfig(**llama_sizes(32_000, 6144, 56, 48, 8, 16_384)),
    "DeepSeek-V3": DeepseekV3Config(),  # its defaults are the published model's
    "Qwen 2.5 72B": Qwen2Config(**llama_sizes(152_064, 8192, 80, 64, 8, 29_568)),
}


@pytest.mark.parametrize("name", DISCLOSED)
def test_parameters_are_transformers_exactly(name):
    with torch.device("meta"):
        peer = AutoModelForCausalLM.from_config(PEERS[name])
    assert count_parameters(DISCLOSED[name].config).total == peer.num_parameters()


@pytest.mark.parametrize("name", DISCLOSED)
def test_parameters_are_within_1_percent_of_what_was_published(name):
    model, counted = DISCLOSED[name], count_parameters(DISCLOSED[name].config)
    assert counted.total == pytest.approx(model.published_total, rel=0.01)
    if model.config.experts is None:
        assert model.published_active is None
    else:
        assert counted.active == pytest.approx(model.published_active, rel=0.01)


SMALL = {
    "dense": DecoderConfig(53, 31, 3, 60, 6, 2, 37),
    "untied, windows": DecoderConfig(53, 31, 3, 60, 6, 2, 37, tied=False, windows=(7, None)),
    "wide heads": DecoderConfig(53, 31, 3, 60, 6, 2, 37, head_dim=14),
    "latent, experts": DecoderConfig(
        53, 31, 3, 60, 6, 6, 37, head_dim=9, tied=False,
        latent=LatentSizes(q_rank=11, kv_rank=7, nope_size=5, rope_size=4, value_size=3),
        experts=ExpertSizes(10, 3, 13, n_shared=1, n_dense_layers=1, n_groups=5,
                            n_active_groups=2, sigmoid=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMALL)
def test_flops_are_what_pytorch_counts(name, monkeypatch):
    """Of a whole text, read by layers that multiply every query with every key."""
    monkeypatch.setattr("tutor_lib.ffn.moe.pays_to_pad", lambda queues: False)
    config, n = SMALL[name], 31
    model, ids = Decoder(config), torch.randint(config.vocab_size, (1, n))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        x, mask = model.embed(ids), None
        for block in model.blocks:
            x = x + block.attention(block.attention_norm(x), mask)[0]
            x = x + block.ffn(block.ffn_norm(x))
        model.unembed(x)
    unlimited = DecoderConfig(**{**vars(config), "windows": (None,)})
    assert n * flops_per_token(unlimited, n) == counter.get_total_flops()
    if config.windows != (None,):
        fewer = 2 * 2 * config.n_heads * config.head_size * (31 - 7) * 2  # two layers see 7
        assert flops_per_token(config, n) == flops_per_token(unlimited, n) - fewer


@pytest.mark.parametrize("name", SMALL)
def test_cache_bytes_are_those_of_the_filled_cache(name):
    config = SMALL[name]
    model, caches = Decoder(config), Decoder(config).new_caches(1)
    model(torch.randint(config.vocab_size, (1, 23)), caches)
    held = 0
    for cache in caches:
        tokens = min(cache.length, getattr(cache, "window", cache.length))
        held += 4 * tokens * (cache.keys[0, :, 0].numel() + cache.values[0, :, 0].numel())
    assert cache_bytes(config, 23, bytes_each=4) == held


def test_cache_bytes_are_the_papers():
    """Llama-2-70B: 2,560 KiB a token without grouping, 320 with. DeepSeek-V2: 69,120 bytes."""
    llama = DecoderConfig(32_000, 4096, 80, 8192, 64, 8, 28_672, tied=False)
    assert cache_bytes(llama, 1) == 320 * 1024
    ungrouped = DecoderConfig(**{**vars(llama), "n_kv_heads": 64})
    assert cache_bytes(ungrouped, 7) == 7 * 2560 * 1024
    latent = LatentSizes(q_rank=1536, kv_rank=512, nope_size=128, rope_size=64, value_size=128)
    deepseek_v2 = DecoderConfig(102_400, 4096, 60, 5120, 128, 128, 12_288, head_dim=192,
                                latent=latent)  # fmt: skip
    assert cache_bytes(deepseek_v2, 1) == 69_120


def test_undisclosed_models_are_marked_so():
    hidden = [m for m in ZOO if m.config is None]
    assert hidden
    assert all(m.published_total is None and "no sizes" in m.source for m in hidden)


def test_bad_input_is_named():
    for count in (cache_bytes, flops_per_token):
        with pytest.raises(ValueError, match="need 1 ≤ length ≤ 31, got 32"):
            count(SMALL["dense"], 32)
