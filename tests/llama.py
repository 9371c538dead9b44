"""`transformers`' Llama with the weights of one of our decoders: an oracle for many tests."""

from transformers import LlamaConfig, LlamaForCausalLM

from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder

THEIR_NAMES = {
    "embedding.": "model.embed_tokens.",
    "blocks.": "model.layers.",
    ".attention.": ".self_attn.",
    ".attention_norm.": ".input_layernorm.",
    ".ffn_norm.": ".post_attention_layernorm.",
    ".ffn.": ".mlp.",
    "final_norm.": "model.norm.",
}


def llama_of(ours: Decoder) -> LlamaForCausalLM:
    """Their model of our sizes, with our weights, dtype and device."""
    theirs = LlamaForCausalLM(llama_config(ours.config)).eval()
    weights = {their_name(name): p for name, p in ours.state_dict().items()}
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"]
    theirs.load_state_dict(weights)
    return theirs.to(ours.embedding.weight)


def llama_config(config: DecoderConfig) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=config.vocab_size,
        hidden_size=config.d_model,
        intermediate_size=config.d_ff,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        max_position_embeddings=config.context_length,
        rms_norm_eps=config.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_base},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,  # with one, its embedding would get no gradient
    )


def their_name(name: str) -> str:
    for ours, theirs in THEIR_NAMES.items():
        name = name.replace(ours, theirs)
    return name
