"""Which of a checkpoint's tensors are which of the decoder's.

A `Rule` ties a few of our tensors to a few of theirs, and knows the way in both directions.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tutor_lib.model.checkpoint_config import model_type
from tutor_lib.model.config import DecoderConfig

Tensors = Sequence[Tensor]


def same(tensors: Tensors) -> list[Tensor]:
    """As they are."""
    return list(tensors)


def transpose(tensors: Tensors) -> list[Tensor]:
    """GPT-2 stores W as (in, out); a bias has one axis and stays."""
    return [t.T if t.ndim == 2 else t for t in tensors]


def split_qkv(tensors: Tensors) -> list[Tensor]:
    """GPT-2 stores the three projections side by side, as (in, 3 · out)."""
    return transpose(tensors[0].chunk(3, dim=-1))


def join_qkv(tensors: Tensors) -> list[Tensor]:
    """Undo `split_qkv`."""
    return [torch.cat(transpose(tensors), dim=-1)]


def stack(tensors: Tensors) -> list[Tensor]:
    """Checkpoints store each expert by itself."""
    return [torch.stack(list(tensors))]


def unstack(tensors: Tensors) -> list[Tensor]:
    """Undo `stack`."""
    return list(tensors[0].unbind())


@dataclass(frozen=True)
class Rule:
    """`ours` = read(`theirs`), and `theirs` = write(`ours`)."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    read: Callable[[Tensors], list[Tensor]] = same
    write: Callable[[Tensors], list[Tensor]] = same


def rules(config: DecoderConfig) -> list[Rule]:
    """How every tensor of a decoder of this config is stored in a checkpoint."""
    return list(_gpt2(config) if model_type(config) == "gpt2" else _llama_like(config))


def is_computed(name: str, config: DecoderConfig) -> bool:
    """Whether a checkpoint's tensor is one that needs no storing: a mask, angles, a tied copy."""
    copied = config.tied and name == "lm_head.weight"
    return copied or name.endswith((".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq"))


def full_name(name: str) -> str:
    """The first GPT-2 checkpoints lack the prefix that later ones have."""
    return f"transformer.{name}" if name.startswith(("wte.", "wpe.", "h.", "ln_f.")) else name


def _gpt2(config: DecoderConfig) -> Iterator[Rule]:
    yield Rule(("embedding.weight",), ("transformer.wte.weight",))
    yield Rule(("positions.table.weight",), ("transformer.wpe.weight",))
    for i in range(config.n_layers):
        ours, theirs = f"blocks.{i}.", f"transformer.h.{i}."
        for end in ("weight", "bias"):
            qkv = tuple(f"{ours}attention.{x}_proj.{end}" for x in "qkv")
            yield Rule(qkv, (f"{theirs}attn.c_attn.{end}",), split_qkv, join_qkv)
            for a, b in (("attention.o_proj", "attn.c_proj"), ("ffn.up_proj", "mlp.c_fc"),
                         ("ffn.down_proj", "mlp.c_proj")):  # fmt: skip
                yield Rule((f"{ours}{a}.{end}",), (f"{theirs}{b}.{end}",), transpose, transpose)
            yield Rule((f"{ours}attention_norm.{end}",), (f"{theirs}ln_1.{end}",))
            yield Rule((f"{ours}ffn_norm.{end}",), (f"{theirs}ln_2.{end}",))
    for end in ("weight", "bias"):
        yield Rule((f"final_norm.{end}",), (f"transformer.ln_f.{end}",))
    if not config.tied:
        yield Rule(("unembedding.weight",), ("lm_head.weight",))


def _llama_like(config: DecoderConfig) -> Iterator[Rule]:
    yield Rule(("embedding.weight",), ("model.embed_tokens.weight",))
    for i in range(config.n_layers):
        ours, theirs = f"blocks.{i}.", f"model.layers.{i}."
        for a, b in (*_norms(config), *_attention(config)):
            yield Rule((f"{ours}{a}",), (f"{theirs}{b}",))
        if config.has_experts(i):
            yield from _experts(config, f"{ours}ffn.", theirs)
        else:
            yield from _dense(f"{ours}ffn.", f"{theirs}mlp.")
    yield Rule(("final_norm.weight",), ("model.norm.weight",))
    if not config.tied:
        yield Rule(("unembedding.weight",), ("lm_head.weight",))


def _norms(config: DecoderConfig) -> Iterator[tuple[str, str]]:
    yield "attention_norm.weight", "input_layernorm.weight"
    if config.family.norms_after:
        yield "after_attention.weight", "post_attention_layernorm.weight"
        yield "ffn_norm.weight", "pre_feedforward_layernorm.weight"
        yield "after_ffn.weight", "post_feedforward_layernorm.weight"
    else:
        yield "ffn_norm.weight", "post_attention_layernorm.weight"


def _attention(config: DecoderConfig) -> Iterator[tuple[str, str]]:
    if config.latent is not None:
        yield from _latent(config.latent.q_rank is not None)
        return
    for x in "qkv":
        yield f"attention.{x}_proj.weight", f"self_attn.{x}_proj.weight"
        if config.family.qkv_bias:
            yield f"attention.{x}_proj.bias", f"self_attn.{x}_proj.bias"
    yield "attention.o_proj.weight", "self_attn.o_proj.weight"
    if config.family.o_bias:
        yield "attention.o_proj.bias", "self_attn.o_proj.bias"


def _latent(q_compressed: bool) -> Iterator[tuple[str, str]]:
    if q_compressed:
        for i, part in enumerate(("q_a_proj", "q_a_layernorm", "q_b_proj")):
            yield f"attention.q_proj.{i}.weight", f"self_attn.{part}.weight"
    else:
        yield "attention.q_proj.weight", "self_attn.q_proj.weight"
    yield "attention.kv_down_proj.weight", "self_attn.kv_a_proj_with_mqa.weight"
    yield "attention.kv_norm.weight", "self_attn.kv_a_layernorm.weight"
    yield "attention.kv_up_proj.weight", "self_attn.kv_b_proj.weight"
    yield "attention.o_proj.weight", "self_attn.o_proj.weight"


def _dense(ours: str, theirs: str) -> Iterator[Rule]:
    for name in ("gate_proj", "up_proj", "down_proj"):
        yield Rule((f"{ours}{name}.weight",), (f"{theirs}{name}.weight",))


def _experts(config: DecoderConfig, ours: str, theirs: str) -> Iterator[Rule]:
    sizes = config.experts
    assert sizes is not None
    moe = f"{theirs}mlp." if sizes.sigmoid else f"{theirs}block_sparse_moe."
    mixtral = {"gate_proj": "w1", "up_proj": "w3", "down_proj": "w2"}
    yield Rule((f"{ours}router.weight",), (f"{moe}gate.weight",))
    if sizes.sigmoid:
        yield Rule((f"{ours}router.bias",), (f"{moe}gate.e_score_correction_bias",))
    for name, short in mixtral.items():
        part = name if sizes.sigmoid else short
        each = tuple(f"{moe}experts.{e}.{part}.weight" for e in range(sizes.n_experts))
        yield Rule((f"{ours}experts.{name}",), each, stack, unstack)
    if sizes.n_shared:
        yield from _dense(f"{ours}shared.", f"{moe}shared_experts.")
