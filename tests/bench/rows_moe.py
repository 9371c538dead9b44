"""One mixture-of-experts layer, 8 experts top-2, against Mixtral's block with the same weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from tests.bench.harness import Comparison
from tutor_lib.ffn.moe import Experts, MixtureOfExperts, SoftmaxRouter

E, K = 8, 2
C, F = 256, 512


def layer() -> MixtureOfExperts:
    torch.manual_seed(0)
    return MixtureOfExperts(SoftmaxRouter(C, E, K), Experts(E, C, F))


def block(ours: MixtureOfExperts, experts: str) -> nn.Module:
    """Mixtral's, with our weights; `experts` names one of its own ways to run them."""
    config = MixtralConfig(
        hidden_size=C, intermediate_size=F, num_local_experts=E, num_experts_per_tok=K,
        experts_implementation=experts,
    )  # fmt: skip
    theirs = MixtralSparseMoeBlock(config)
    gate, up, down = ours.experts.stacks()
    weights = {
        "gate.weight": ours.router.weight,
        "experts.gate_up_proj": torch.cat([gate, up], dim=1),
        "experts.down_proj": down,
    }
    theirs.load_state_dict(weights)
    return theirs


def forward(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    @torch.no_grad()
    def work() -> Tensor:
        return module(x)

    return work


def training(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    """Forward and backward; what comes out is the gradient of the input."""

    def work() -> Tensor:
        module.zero_grad()
        leaf = x.detach().requires_grad_()
        module(leaf).square().mean().backward()
        return leaf.grad

    return work


def same(ours: object, theirs: object) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-6)


def rows() -> list[Comparison]:
    found = []
    for name, run, n_tokens, experts, at_least in ROWS:
        ours, x = layer(), torch.randn(1, n_tokens, C)
        work, peer = f"MoE layer, {name}, {n_tokens} tokens", f"Mixtral, {experts}"
        theirs = block(ours, experts)
        found.append(
            Comparison(work, peer, run(ours, x), run(theirs, x), same, at_least, rounds=31)
        )
    return found


# Mixtral's block runs "eager" by itself, and "grouped_mm" inside a whole model. From some hundred
# tokens on, all three spend their time in the same matrix products.
ROWS = [
    ("forward", forward, 64, "eager", 1.3),
    ("forward", forward, 64, "grouped_mm", 1.0),
    ("forward", forward, 512, "eager", 1.0),
    ("training", training, 512, "eager", 1.3),
    ("training", training, 512, "grouped_mm", 0.9),
]
