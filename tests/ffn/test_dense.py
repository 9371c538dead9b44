"""Feed-forward networks, outputs and gradients, against those in `transformers` and PyTorch."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional
from transformers import BertConfig, Gemma2Config, GPT2Config, LlamaConfig, T5Config
from transformers.models.bert.modeling_bert import BertIntermediate
from transformers.models.gemma2.modeling_gemma2 import Gemma2MLP
from transformers.models.gpt2.modeling_gpt2 import GPT2MLP
from transformers.models.llama.modeling_llama import LlamaMLP
from transformers.models.t5.modeling_t5 import T5DenseActDense

from tutor_lib.ffn.dense import (
    GeGLUFeedForward,
    GELUFeedForward,
    GELUTanhFeedForward,
    ReLUFeedForward,
    SwiGLUFeedForward,
    gelu,
    gelu_tanh,
    silu,
)

C, F = 13, 29


def bert() -> nn.Module:
    config = BertConfig(hidden_size=C, intermediate_size=F, num_attention_heads=1)
    return nn.Sequential(BertIntermediate(config), nn.Linear(F, C))


def gpt2() -> nn.Module:
    return GPT2MLP(F, GPT2Config(n_embd=C, n_head=1, resid_pdrop=0.0))


def original() -> nn.Module:
    return nn.Sequential(nn.Linear(C, F), nn.ReLU(), nn.Linear(F, C))


def t5() -> nn.Module:
    return T5DenseActDense(T5Config(d_model=C, d_ff=F, dropout_rate=0.0))


def llama() -> nn.Module:
    config = LlamaConfig(hidden_size=C, intermediate_size=F, num_attention_heads=1, head_dim=2)
    return LlamaMLP(config)


def gemma2() -> nn.Module:
    return Gemma2MLP(Gemma2Config(hidden_size=C, intermediate_size=F, num_attention_heads=1))


PAIRS = {
    "BERT": (GELUFeedForward, bert),
    "GPT-2": (GELUTanhFeedForward, gpt2),
    "original": (ReLUFeedForward, original),
    "T5": (partial(ReLUFeedForward, bias=False), t5),
    "Llama": (SwiGLUFeedForward, llama),
    "Gemma 2": (GeGLUFeedForward, gemma2),
}


def turned(mine: torch.Tensor, peers: torch.Tensor) -> torch.Tensor:
    """GPT-2's layers keep their matrices the other way round."""
    return mine if mine.shape == peers.shape else mine.T


@pytest.mark.parametrize("name", PAIRS)
def test_networks_equal_their_models(name, place):
    device, dtype, tolerance = place
    torch.manual_seed(3)
    make, make_peer = PAIRS[name]
    ours, theirs = make(C, F).to(device, dtype), make_peer().to(device, dtype)
    pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
    for mine, peers in pairs:
        nn.init.normal_(mine)
        peers.data = turned(mine.data, peers).clone()
    x = torch.randn(2, 5, C, device=device, dtype=dtype, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    slope = torch.randn_like(x)

    def close(a, b):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())

    close(ours(x), theirs(y))
    ours(x).backward(slope)
    theirs(y).backward(slope)
    close(x.grad, y.grad)
    for mine, peers in pairs:
        close(mine.grad, turned(peers.grad, mine))


@pytest.mark.parametrize(
    ("written", "fused"),
    [
        (gelu, functional.gelu),
        (gelu_tanh, lambda x: functional.gelu(x, approximate="tanh")),
        (silu, functional.silu),
    ],
    ids=["gelu", "gelu_tanh", "silu"],
)
def test_what_the_book_shows_is_what_the_layers_call(written, fused):
    x = torch.linspace(-9, 9, 101, dtype=torch.float64)
    assert torch.allclose(written(x), fused(x), rtol=0, atol=1e-14)


def test_the_tanh_stays_near_the_exact_gelu_and_differs_from_it():
    x = torch.linspace(-9, 9, 1009, dtype=torch.float64)
    assert 1e-4 < (gelu_tanh(x) - gelu(x)).abs().max() < 5e-4
