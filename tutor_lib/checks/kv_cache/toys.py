"""Small random decoders whose choices are clear: no rounding can turn one."""

import math
from typing import Any

import torch
from torch import Tensor

from tutor_lib.checks.draw import Draw, seeded
from tutor_lib.checks.kv_cache.model import BareDecoder
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import GPT2, LLAMA

# The first reads positions by rotation, where only distances count, the others by a table.
# C, H, D and K · D all differ, so that one cannot be taken for another.
_SIZES = {
    "llama": {"n_heads": 6, "n_kv_heads": 3, "head_dim": 4, "family": LLAMA},
    "gpt2": {"n_heads": 4, "n_kv_heads": 2, "head_dim": 5, "family": GPT2},
    "deep": {"n_heads": 3, "n_kv_heads": 1, "head_dim": 7, "family": GPT2},
}
CLEAR = 0.01  # in logits; caching changes them by a millionth


def toy(draw: Draw, kind: str) -> BareDecoder:
    """A decoder with random weights, large enough that every token and place counts."""
    n_layers = 3 if kind == "deep" else 2
    config = DecoderConfig(31, 43, n_layers, 17, d_ff=11, tied=False, **_SIZES[kind])  # type: ignore[arg-type]
    decoder = Decoder(config)
    with torch.no_grad():
        for name, parameter in decoder.named_parameters():
            if parameter.ndim == 2:
                looked_up = name.startswith(("embedding", "positions"))
                parameter.copy_(draw(*parameter.shape) / (1 if looked_up else _root(parameter)))
    return BareDecoder(decoder.eval())


def _root(weight: Tensor) -> float:
    return math.sqrt(weight.size(1))


def clear_toy(draw: Draw, kind: str, rows: int, length: int, n: int) -> tuple[BareDecoder, Tensor]:
    """A decoder and a prompt (rows, length), after which n greedy choices are clear ones."""
    while True:
        model, prompt = toy(draw, kind), draw.ids(31, rows, length)
        if closest_call(model, prompt, n) > CLEAR:
            return model, prompt


def written(student: Any, seed: int, kind: str, rows: int, length: int, n: int) -> tuple[Any, int]:
    """The text that `student` writes with the decoder that `clear_toy` draws from this seed, and
    how many tokens went through it. For hidden tests; runs beside the answer."""
    model, prompt = clear_toy(seeded(seed), kind, rows, length, n)
    return student(model, prompt, n), model.tokens


@torch.no_grad()
def closest_call(model: Any, prompt: Tensor, n: int) -> float:
    """The least lead that a chosen token has over the next best, without any cache."""
    lead = math.inf
    for _ in range(n):
        best = model.decoder(prompt)[:, -1].topk(2)
        lead = min(lead, (best.values[:, 0] - best.values[:, 1]).min().item())
        prompt = torch.cat((prompt, best.indices[:, :1]), dim=1)
    return lead
