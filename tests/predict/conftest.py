"""Pairs of a small decoder and `transformers`' Llama with the same random weights."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import pytest
import torch
from transformers import LlamaForCausalLM

from tests.llama import llama_of
from tutor_lib.attention.cache import KVCache
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder

CONFIG = DecoderConfig(
    vocab_size=53, context_length=41, n_layers=3, d_model=60, n_heads=6, n_kv_heads=2, d_ff=37,
    rope_base=97.0,
)  # fmt: skip


class Pair(NamedTuple):
    ours: Decoder
    theirs: LlamaForCausalLM


@pytest.fixture(
    params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)],
)
def device(request) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    return request.param


@pytest.fixture
def decoder(device) -> Callable[..., Decoder]:
    """Make a decoder with random weights, in float64: rounding then decides no token."""

    def make(seed: int, std: float = 0.3, **sizes: int) -> Decoder:
        torch.manual_seed(seed)
        model = Decoder(replace(CONFIG, **sizes))
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=std)
        return model.to(device, torch.float64).eval()

    return make


@pytest.fixture
def pair(decoder) -> Callable[..., Pair]:
    def make(seed: int, std: float = 0.3, **sizes: int) -> Pair:
        ours = decoder(seed, std, **sizes)
        return Pair(ours, llama_of(ours))

    return make


@pytest.fixture
def random_ids(device) -> Callable[[int, int, int], torch.Tensor]:
    def make(seed: int, batch: int, length: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(CONFIG.vocab_size, (batch, length), generator=generator).to(device)

    return make


class Table:
    """A model that looks up its logits by the last token, and counts how often it is run."""

    def __init__(self, logits: torch.Tensor) -> None:
        self.logits, self.passes = logits, 0

    def __call__(self, ids, caches=None):
        self.passes += 1
        for cache in caches or []:
            cache.update(*torch.zeros(2, len(ids), 1, ids.size(1), 1))
        return self.logits[ids]

    def new_caches(self, batch, capacity=None):
        return [KVCache(batch, 1, capacity, 1)]


@pytest.fixture
def lookup() -> type[Table]:
    """Make a model of which everything is known."""
    return Table
