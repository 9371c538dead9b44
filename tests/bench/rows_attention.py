"""What a layer calls for attention when it needs no weights, against PyTorch's fused kernel."""

import torch
from torch.nn import functional as F

from tests.bench.harness import Comparison
from tutor_lib.attention.scored import ScoredAttention


def rows() -> list[Comparison]:
    q, k, v = torch.randn(3, 1, 4, 2048, 64, generator=torch.Generator().manual_seed(0))
    attend = ScoredAttention()
    return [
        Comparison(
            "attention, T = 2,048, causal",
            "PyTorch SDPA",
            lambda: attend.fused(q, k, v, causal=True),
            lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            torch.equal,
            at_least=1.0,
            rounds=64,
        )
    ]
