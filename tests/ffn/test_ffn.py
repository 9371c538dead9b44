"""Norms and feed-forward networks against PyTorch's and Llama's."""

import torch
from torch import nn
from torch.nn import functional as F
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from tutor_lib.ffn.dense import GELUFeedForward, SwiGLUFeedForward, gelu, silu
from tutor_lib.ffn.norm import LayerNorm, RMSNorm

C, F_ = 13, 29


def random_gains(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module


def test_norms_equal_pytorchs():
    x = torch.randn(2, 5, C) * 3 + 1
    for ours, theirs in [(LayerNorm(C), nn.LayerNorm(C)), (RMSNorm(C), nn.RMSNorm(C, eps=1e-5))]:
        theirs.load_state_dict(random_gains(ours).state_dict())
        assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def test_a_vector_of_zeros_stays_finite():
    zeros = torch.zeros(1, C)
    assert torch.equal(RMSNorm(C)(zeros), zeros)
    assert torch.equal(LayerNorm(C)(zeros), zeros)


def test_activations_equal_pytorchs():
    x = torch.linspace(-9, 9, 101)
    assert torch.allclose(gelu(x), F.gelu(x), atol=1e-6)
    assert torch.allclose(silu(x), F.silu(x), atol=1e-6)


def test_gelu_network_equals_a_pytorch_sequence():
    ours = random_gains(GELUFeedForward(C, F_))
    theirs = nn.Sequential(nn.Linear(C, F_), nn.GELU(), nn.Linear(F_, C))
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        a.data = b.data
    x = torch.randn(2, 5, C)
    assert torch.allclose(ours(x), theirs(x), atol=1e-4)
    assert sum(p.numel() for p in ours.parameters()) == 2 * C * F_ + F_ + C


def test_swiglu_network_equals_llamas():
    ours = SwiGLUFeedForward(C, F_)
    theirs = LlamaMLP(
        LlamaConfig(hidden_size=C, intermediate_size=F_, num_attention_heads=1, head_dim=2)
    )
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 5, C)
    assert torch.allclose(ours(x), theirs(x), atol=1e-6)
    assert sum(p.numel() for p in ours.parameters()) == 3 * C * F_
