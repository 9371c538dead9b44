"""The decoder as each family, against the same model in `transformers`, weights and all.

Each peer writes a checkpoint folder, which ours reads; then ours writes one, which it reads.
"""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DeepseekV3Config,
    Gemma2Config,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    MixtralConfig,
    PretrainedConfig,
    Qwen2Config,
)

from tutor_lib.model.checkpoint_config import read_config, write_config
from tutor_lib.model.checkpoint_names import rules
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.pretrained import load_pretrained, save_pretrained

SIZES = {
    "vocab_size": 53, "hidden_size": 60, "intermediate_size": 37, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 31,
    "head_dim": 10, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 97.0},
}  # fmt: skip
LLAMA3 = {"rope_type": "llama3", "rope_theta": 97.0, "factor": 3.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 11}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 97.0, "factor": 3.0, "mscale": 0.7,
        "mscale_all_dim": 1.3, "original_max_position_embeddings": 11}  # fmt: skip
DEEPSEEK = {
    "num_key_value_heads": 6, "moe_intermediate_size": 13, "n_routed_experts": 10, "n_group": 5,
    "topk_group": 2, "num_experts_per_tok": 3, "first_k_dense_replace": 1, "q_lora_rank": 11,
    "kv_lora_rank": 7, "qk_rope_head_dim": 4, "qk_nope_head_dim": 5, "v_head_dim": 3,
    "head_dim": 4, "n_shared_experts": 2,
}  # fmt: skip


def peers() -> dict[str, PretrainedConfig]:
    return {
        "gpt2": GPT2Config(vocab_size=53, n_positions=31, n_embd=60, n_layer=3, n_head=5,
                           n_inner=37, layer_norm_epsilon=1e-4),
        "gpt2, default width": GPT2Config(vocab_size=53, n_positions=31, n_embd=60, n_layer=2,
                                          n_head=5),
        "llama 2": LlamaConfig(**SIZES),
        "llama 3": LlamaConfig(**SIZES | {"rope_parameters": LLAMA3}, tie_word_embeddings=True),
        "llama with biases": LlamaConfig(**SIZES, attention_bias=True),
        "mistral": MistralConfig(**SIZES, sliding_window=7),
        "mistral, wide heads": MistralConfig(**SIZES | {"head_dim": 14}, sliding_window=None),
        "mixtral": MixtralConfig(**SIZES, num_local_experts=7, num_experts_per_tok=3),
        "qwen 2.5": Qwen2Config(**SIZES),
        "qwen 2.5, windows": Qwen2Config(**SIZES, use_sliding_window=True, sliding_window=7,
                                         max_window_layers=1),
        "deepseek-v3": DeepseekV3Config(**SIZES | DEEPSEEK | {"rope_parameters": YARN}),
        "deepseek-v3, plain queries": DeepseekV3Config(**SIZES | DEEPSEEK | {"q_lora_rank": None}),
        "gemma 2": Gemma2Config(**SIZES | {"head_dim": 14}, sliding_window=7,
                                query_pre_attn_scalar=17, attn_logit_softcapping=2.0,
                                final_logit_softcapping=3.0, pad_token_id=None),
    }  # fmt: skip


def randomised(model: torch.nn.Module) -> torch.nn.Module:
    """Weights far from their start, so that heads and experts differ and norms matter."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.1 * (parameter.ndim < 2), std=0.2)
    for name, buffer in model.named_buffers():
        if name.endswith(("e_score_correction_bias", "router.bias")):
            torch.nn.init.normal_(buffer)
    return model.eval()


@pytest.fixture(params=peers())
def peer(request):
    config = peers()[request.param]
    config._attn_implementation = "eager"  # SDPA would leave out Gemma's soft-cap
    config._experts_implementation = "eager"  # the grouped kernel wants multiples of 16 bytes
    return randomised(AutoModelForCausalLM.from_config(config))


IDS = torch.randint(53, (2, 29), generator=torch.Generator().manual_seed(7))


def test_logits_and_gradients_are_transformers(peer, tmp_path):
    peer.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    logits, expected = ours(IDS), peer(IDS).logits
    assert (logits - expected).abs().max() < 1e-4
    assert expected.std() > 0.3, "logits that are all alike would prove nothing"
    seed = torch.randn_like(logits)
    logits.backward(seed)
    expected.backward(seed)
    theirs = {name: p.grad for name, p in peer.named_parameters()}
    compared = 0
    for rule in rules(ours.config):
        if all(name in theirs for name in rule.theirs):
            grads = rule.write([ours.get_parameter(name).grad for name in rule.ours])
            for name, grad in zip(rule.theirs, grads, strict=True):
                assert torch.allclose(grad, theirs[name], rtol=1e-3, atol=1e-3), name
                compared += 1
    assert compared > 10


def test_cached_logits_are_those_of_the_whole_text(peer, tmp_path):
    peer.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    with torch.no_grad():
        expected = peer(IDS).logits
        for cuts in ([29], [6, 23], [7, 22], [8, 21], [5, 1, 1, 1, 3, 1, 17], [1] * 29):
            caches = ours.new_caches(2)
            logits = torch.cat([ours(chunk, caches) for chunk in IDS.split(cuts, dim=1)], dim=1)
            assert (logits - expected).abs().max() < 1e-4, cuts


def test_what_we_write_transformers_reads(peer, tmp_path):
    peer.save_pretrained(tmp_path / "theirs")
    config = load_pretrained(tmp_path / "theirs").config
    ours = randomised(Decoder(config))
    if config.latent and config.rope_scaling:
        with pytest.raises(ValueError, match="a deepseek_v3 checkpoint cannot say all of"):
            save_pretrained(ours, tmp_path / "ours")  # which two factors gave this one scale?
        return
    save_pretrained(ours, tmp_path / "ours")
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path / "ours", attn_implementation="eager", experts_implementation="eager"
    )
    with torch.no_grad():
        assert (ours(IDS) - theirs(IDS).logits).abs().max() < 1e-4
    assert read_config(write_config(config)) == config


def test_padded_rows_are_as_if_alone(peer, tmp_path):
    peer.save_pretrained(tmp_path)
    ours, padding = load_pretrained(tmp_path), torch.tensor([0, 11])
    with torch.no_grad():
        alone = peer(IDS[1:, 11:]).logits[0]
        assert (ours(IDS, padding=padding)[1, 11:] - alone).abs().max() < 1e-4
        caches = ours.new_caches(2)
        parts = [ours(chunk, caches, padding) for chunk in IDS.split([13, 8, 1, 1, 6], dim=1)]
        assert (torch.cat(parts, dim=1)[1, 11:] - alone).abs().max() < 1e-4
        assert torch.isfinite(torch.cat(parts, dim=1)).all()
