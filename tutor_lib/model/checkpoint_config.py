"""A checkpoint's `config.json` to a `DecoderConfig`, and back.

The keys are those of Hugging Face `transformers`, which most checkpoints use.
"""

from collections.abc import Mapping
from typing import Any

from tutor_lib.attention.latent import LatentSizes
from tutor_lib.embed.rope_scaling import yarn_magnitude
from tutor_lib.model.checkpoint_rope import Json, read_scaling, rope_parameters, write_rope
from tutor_lib.model.config import DecoderConfig, ExpertSizes, Family
from tutor_lib.model.families import GEMMA2, GPT2, LLAMA, QWEN2

FAMILIES = {
    "gpt2": GPT2, "llama": LLAMA, "mistral": LLAMA, "mixtral": LLAMA, "qwen2": QWEN2,
    "deepseek_v3": LLAMA, "gemma2": GEMMA2,
}  # fmt: skip

SIZES = {
    "vocab_size": "vocab_size",
    "context_length": "max_position_embeddings",
    "n_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_kv_heads": "num_key_value_heads",
    "d_ff": "intermediate_size",
    "norm_eps": "rms_norm_eps",
}

GPT2_SIZES = {
    "vocab_size": "vocab_size",
    "context_length": "n_positions",
    "n_layers": "n_layer",
    "d_model": "n_embd",
    "n_heads": "n_head",
    "d_ff": "n_inner",
    "norm_eps": "layer_norm_epsilon",
}

EXPERTS = {
    "mixtral": {"n_experts": "num_local_experts", "n_active": "num_experts_per_tok",
                "d_expert": "intermediate_size"},
    "deepseek_v3": {"n_experts": "n_routed_experts", "n_active": "num_experts_per_tok",
                    "d_expert": "moe_intermediate_size", "n_shared": "n_shared_experts",
                    "n_dense_layers": "first_k_dense_replace", "n_groups": "n_group",
                    "n_active_groups": "topk_group", "scale": "routed_scaling_factor"},
}  # fmt: skip

LATENT = {"q_rank": "q_lora_rank", "kv_rank": "kv_lora_rank", "nope_size": "qk_nope_head_dim",
          "rope_size": "qk_rope_head_dim", "value_size": "v_head_dim"}  # fmt: skip

# What a checkpoint may ask for that the decoder does not do.
UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "mlp_bias": (False,),
    "hidden_act": ("silu",),
    "hidden_activation": ("gelu_pytorch_tanh",),
    "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "norm_topk_prob": (True,),
    "rope_interleave": (True,),
    "use_bidirectional_attention": (None, False),
}


def read_config(found: Json) -> DecoderConfig:
    """The decoder that a `config.json` describes.

    Raises ValueError if a key is missing, or asks for what this decoder does not do.
    """
    kind = found.get("model_type")
    if kind not in FAMILIES:
        raise ValueError(f"model_type {kind!r} is none of {', '.join(FAMILIES)}")
    for key, supported in UNSUPPORTED.items():
        if found.get(key, supported[0]) not in supported:
            raise ValueError(f"{key}={found[key]!r} is not supported, only {supported[0]!r}")
    try:
        return _gpt2(found) if kind == "gpt2" else _llama_like(found, kind)
    except KeyError as error:
        raise ValueError(f"config.json of a {kind} lacks {error}") from error


def write_config(config: DecoderConfig) -> dict[str, Any]:
    """The `config.json` of a decoder: what `read_config` reads.

    Raises ValueError if no family of checkpoints has such a decoder.
    """
    kind = model_type(config)
    written: dict[str, Any] = {
        "model_type": kind,
        "architectures": [ARCHITECTURES[kind]],
        "tie_word_embeddings": config.tied,
    }
    names = GPT2_SIZES if kind == "gpt2" else SIZES
    written |= {theirs: getattr(config, ours) for ours, theirs in names.items()}
    if kind != "gpt2":
        written |= _written_parts(config, kind)
    if read_config(written) != config:
        raise ValueError(f"a {kind} checkpoint cannot say all of {config}")
    return written


ARCHITECTURES = {
    "gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM",
    "mixtral": "MixtralForCausalLM", "qwen2": "Qwen2ForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM", "gemma2": "Gemma2ForCausalLM",
}  # fmt: skip


def model_type(config: DecoderConfig) -> str:
    """The name of the family of checkpoints that holds such a decoder."""
    if config.latent is not None:
        return "deepseek_v3"
    if config.experts is not None:
        return "mixtral"
    if config.family == LLAMA and config.windows != (None,):
        return "mistral"
    named = {GPT2: "gpt2", QWEN2: "qwen2", GEMMA2: "gemma2"}
    return named.get(config.family, "llama")


def _gpt2(found: Json) -> DecoderConfig:
    sizes = _numbers(found, {o: t for o, t in GPT2_SIZES.items() if o != "d_ff"})
    d_ff = found.get("n_inner") or 4 * found["n_embd"]
    tied = found.get("tie_word_embeddings", True)
    return DecoderConfig(**sizes, n_kv_heads=found["n_head"], d_ff=d_ff, tied=tied, family=GPT2)


def _llama_like(found: Json, kind: str) -> DecoderConfig:
    sizes = _numbers(found, SIZES)
    rope = rope_parameters(found)
    latent = None
    if kind == "deepseek_v3":
        latent = LatentSizes(**_numbers(found, LATENT))
    return DecoderConfig(
        **sizes,
        rope_base=float(rope["rope_theta"]),
        head_dim=_head_size(found, latent),
        tied=found.get("tie_word_embeddings", kind == "gemma2"),
        family=_family(found, kind),
        rope_scaling=read_scaling(rope, found["max_position_embeddings"]),
        windows=_windows(found, kind),
        score_scale=_score_scale(found, rope, latent),
        score_softcap=found.get("attn_logit_softcapping"),
        logit_softcap=found.get("final_logit_softcapping"),
        experts=_experts(found, kind),
        latent=latent,
    )


def _numbers(found: Json, names: Mapping[str, str]) -> dict[str, Any]:
    for theirs in names.values():
        if not isinstance(found[theirs], int | float | None):
            raise ValueError(f"{theirs}={found[theirs]!r} is not a number")
    return {ours: found[theirs] for ours, theirs in names.items()}


def _family(found: Json, kind: str) -> Family:
    if kind == "llama" and found.get("attention_bias"):
        return Family(qkv_bias=True, o_bias=True)
    if found.get("attention_bias"):
        raise ValueError(f"attention_bias=True is not supported in a {kind}")
    return FAMILIES[kind]


def _head_size(found: Json, latent: LatentSizes | None) -> int | None:
    """None where it is C/H, so that the config reads as one would write it."""
    size = found.get("head_dim")
    if latent is not None:
        size = latent.nope_size + latent.rope_size
    divided = found["hidden_size"] / found["num_attention_heads"]
    return None if size == divided else size


def _windows(found: Json, kind: str) -> tuple[int | None, ...]:
    window = found.get("sliding_window")
    if window is None or (kind == "qwen2" and not found.get("use_sliding_window")):
        return (None,)
    types = found.get("layer_types")
    if types is None:
        types = (
            ["sliding_attention", "full_attention"] if kind == "gemma2" else ["sliding_attention"]
        )
    windows = tuple(window if t == "sliding_attention" else None for t in types)
    return windows[: _period(windows)]


def _period(windows: tuple[int | None, ...]) -> int:
    """The length of the shortest beginning that, repeated, gives all of `windows`."""
    n = len(windows)
    return next(p for p in range(1, n + 1) if all(windows[i] == windows[i % p] for i in range(n)))


def _experts(found: Json, kind: str) -> ExpertSizes | None:
    if kind not in EXPERTS:
        return None
    return ExpertSizes(**_numbers(found, EXPERTS[kind]), sigmoid=kind == "deepseek_v3")


def _score_scale(found: Json, rope: Json, latent: LatentSizes | None) -> float | None:
    if "query_pre_attn_scalar" in found:
        return found["query_pre_attn_scalar"] ** -0.5
    if latent is None or not rope.get("mscale_all_dim"):
        return None
    magnitude = yarn_magnitude(rope["factor"], rope["mscale_all_dim"])
    return magnitude**2 * (latent.nope_size + latent.rope_size) ** -0.5


def _written_parts(config: DecoderConfig, kind: str) -> dict[str, Any]:
    written: dict[str, Any] = {
        "head_dim": config.head_size,
        "rope_parameters": write_rope(config.rope_base, config.rope_scaling),
        "hidden_act": "silu",
    }
    if config.windows != (None,):
        written |= _written_windows(config)
    if kind == "llama":
        written["attention_bias"] = config.family.qkv_bias
    if kind == "gemma2":
        written |= {
            "hidden_activation": "gelu_pytorch_tanh",
            "query_pre_attn_scalar": round((config.score_scale or config.head_size**-0.5) ** -2),
            "attn_logit_softcapping": config.score_softcap,
            "final_logit_softcapping": config.logit_softcap,
        }
        del written["hidden_act"]
    if config.experts is not None:
        written |= {t: getattr(config.experts, o) for o, t in EXPERTS[kind].items()}
    if config.latent is not None:
        written |= {theirs: getattr(config.latent, ours) for ours, theirs in LATENT.items()}
        written["head_dim"] = config.latent.rope_size
    return written


def _written_windows(config: DecoderConfig) -> dict[str, Any]:
    window = next(w for w in config.windows if w is not None)
    kinds = [config.window(i) for i in range(config.n_layers)]
    types = ["full_attention" if w is None else "sliding_attention" for w in kinds]
    return {"sliding_window": window, "use_sliding_window": True, "layer_types": types}
