"""Read the residual stream as logits: after each layer, and part by part."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tutor_lib.ffn.norm import GemmaRMSNorm, LayerNorm, RMSNorm
from tutor_lib.inside.trace import values_of
from tutor_lib.model.block import Block
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.layers import check_ids

# What a block writes to the stream, and the stream when it is done.
WRITTEN = ("attention.z", "attention.heads", "ffn.output", "residual_after")


@torch.no_grad()
def logit_lens(model: Decoder, ids: Int[Tensor, "B T"]) -> Float[Tensor, "depth B T V"]:
    """What the model would say if it ended after 0, 1 … L layers: depth = L + 1.

    unembed(final_norm(x)) of each residual stream x: nostalgebraist 2020, "interpreting GPT:
    the logit lens". The last are the model's own logits.
    """
    last = f"blocks.{len(model.blocks) - 1}.residual_after"
    streams = values_of(model, ids, ["blocks.*.residual_before", last])
    return torch.stack([model.unembed(x) for x in streams.values()])


@dataclass(frozen=True)
class LogitParts:
    """What each part of the model adds to one logit of each text. They sum to the logit."""

    embedding: Float[Tensor, "B"]
    heads: Float[Tensor, "L H B"]
    attention_bias: Float[Tensor, "L B"]  # of W_O
    ffns: Float[Tensor, "L B"]
    norm_bias: Float[Tensor, "B"]  # of the last norm

    def total(self) -> Float[Tensor, "B"]:
        """The logit."""
        layers = self.heads.sum(1) + self.attention_bias + self.ffns
        return self.embedding + layers.sum(0) + self.norm_bias


@torch.no_grad()
def logit_parts(model: Decoder, ids: Int[Tensor, "B T"], tokens: Int[Tensor, "B"]) -> LogitParts:
    """Direct logit attribution: the logit of `tokens[b]` after text b, as a sum.

    The residual stream is a sum of what the parts wrote, and the unembedding is linear. The
    norm between them is not: its scale is frozen at what the whole stream makes it. Elhage et
    al. 2021, "A Mathematical Framework for Transformer Circuits".

    Raises ValueError if the model caps its logits, which are then no sum; unless there is one
    token for each text, and text; and if a token is outside the vocabulary.
    """
    _check_sum(model, ids, tokens)
    values = values_of(model, ids, ["embedding", *(f"blocks.*.{name}" for name in WRITTEN)])
    last = {name: value.select(-2, -1) for name, value in values.items()}  # the last position
    layers = [_written(model.blocks[i], last, f"blocks.{i}.") for i in range(len(model.blocks))]
    heads, biases, ffns = (torch.stack(parts) for parts in zip(*layers, strict=True))
    row = (model.embedding if model.config.tied else model.unembedding).weight[tokens]  # (B, C)
    read = frozen(model.final_norm, last[f"blocks.{len(layers) - 1}.residual_after"])
    shift = getattr(model.final_norm, "bias", torch.zeros_like(row))
    parts = [read(part) for part in (last["embedding"], heads, biases, ffns)]
    return LogitParts(*((part * row).sum(-1) for part in [*parts, shift]))


def _check_sum(model: Decoder, ids: Tensor, tokens: Tensor) -> None:
    if model.config.logit_softcap is not None:
        raise ValueError(f"logits capped at {model.config.logit_softcap} are no sum of parts")
    if len(tokens) != len(ids) or not ids.numel():
        raise ValueError(f"{len(tokens)} tokens for ids of shape {tuple(ids.shape)}")
    check_ids(tokens[None], model.config.vocab_size)


def _written(block: nn.Module, values: dict[str, Tensor], name: str) -> tuple[Tensor, ...]:
    """What the heads, W_O's bias and the FFN add to the stream: (H, B, C), (B, C), (B, C)."""
    assert isinstance(block, Block)
    z, heads, ffn, _ = (values[name + part] for part in WRITTEN)
    bias = block.attention.o_proj(torch.zeros_like(z.flatten(1)))
    after = frozen(block.after_attention, heads.sum(1) + bias)
    return after(heads.transpose(0, 1)), after(bias), ffn


def frozen(norm: nn.Module, x: Float[Tensor, "*lead C"]) -> Callable[[Tensor], Tensor]:
    """The norm as a linear map: the scale is what it is at x, whatever is normalised.

    Of parts that sum to x, the images sum to norm(x), but for LayerNorm's shift.

    Raises ValueError if it is none of our norms.
    """
    if isinstance(norm, nn.Identity):
        return lambda part: part
    if not isinstance(norm, LayerNorm | RMSNorm):
        raise ValueError(f"no norm whose scale could be frozen: {type(norm).__name__}")
    centre = _centred if isinstance(norm, LayerNorm) else lambda part: part
    gain = 1 + norm.weight if isinstance(norm, GemmaRMSNorm) else norm.weight
    scale = gain * torch.rsqrt(centre(x).square().mean(-1, keepdim=True) + norm.eps)
    return lambda part: scale * centre(part)


def _centred(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)
