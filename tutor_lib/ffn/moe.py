"""Mixture of experts: many feed-forward networks, of which each token uses a few."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.ffn.routing import (
    Routing,
    SigmoidRouter,
    SoftmaxRouter,
    load_balancing_loss,
    router_z_loss,
    with_capacity,
)

__all__ = [
    "Experts",
    "MixtureOfExperts",
    "Routing",
    "SigmoidRouter",
    "SoftmaxRouter",
    "load_balancing_loss",
    "router_z_loss",
]


class Experts(nn.Module):
    """E SwiGLU networks, their weights stacked: 3CFE parameters, 3CFk of them used by a token."""

    def __init__(self, n_experts: int, d_model: int, d_ff: int) -> None:
        super().__init__()
        if min(sizes := (n_experts, d_model, d_ff)) < 1:
            raise ValueError(f"n_experts, d_model and d_ff must be positive, got {sizes}")
        self.gate_proj = nn.Parameter(torch.empty(n_experts, d_ff, d_model))
        self.up_proj = nn.Parameter(torch.empty(n_experts, d_ff, d_model))
        self.down_proj = nn.Parameter(torch.empty(n_experts, d_model, d_ff))
        for stack in self.parameters():
            for weight in stack:
                nn.init.kaiming_uniform_(weight, a=math.sqrt(5))  # as nn.Linear's

    def forward(self, x: Float[Tensor, "N C"], routing: Routing) -> Float[Tensor, "N C"]:
        """Σ_i weights[i] · SwiGLU_experts[i](x) for each token: Mixtral, §2.1 (arXiv:2401.04088).

        Raises ValueError if the router knows another number of experts.
        """
        n_tokens, n_active = routing.experts.shape
        if routing.logits.size(1) != len(self.gate_proj):
            raise ValueError(
                f"the router chooses among {routing.logits.size(1)} experts, not among"
                f" {len(self.gate_proj)}"
            )
        choices, queues = routing.by_expert()
        queued = x.index_select(0, choices % n_tokens)  # (M, C)
        work = self.side_by_side if pays_to_pad(queues) else self.one_by_one
        done = work(queued, queues)  # (M, C)
        answers = done.new_zeros(n_active * n_tokens, x.size(1)).index_copy(0, choices, done)
        answers = answers.view(n_active, n_tokens, x.size(1))
        return (answers * routing.weights.T.unsqueeze(-1)).sum(0).to(x.dtype)

    def one_by_one(self, queued: Float[Tensor, "M C"], queues: list[int]) -> Float[Tensor, "M C"]:
        """Each expert's network on its own queue."""
        # unbind, because indexing would make a gradient as large as the stack for each expert.
        experts = zip(*(stack.unbind() for stack in self.stacks()), strict=True)
        turns = zip(queued.split(queues), experts, strict=True)
        done = [swiglu(x, *expert) for x, expert in turns if len(x)]
        return torch.cat(done) if done else queued

    def side_by_side(self, queued: Float[Tensor, "M C"], queues: list[int]) -> Float[Tensor, "M C"]:
        """The same in three batched products, every queue padded to the longest."""
        lengths = torch.tensor(queues, device=queued.device).unsqueeze(1)
        taken = torch.arange(max(queues), device=queued.device) < lengths  # (E, longest)
        rows = taken.flatten().nonzero().squeeze(1)
        padded = queued.new_zeros(taken.numel(), queued.size(1)).index_copy(0, rows, queued)
        done = swiglu(padded.unflatten(0, taken.shape), *self.stacks())
        return done.flatten(0, 1).index_select(0, rows)

    def stacks(
        self,
    ) -> tuple[Float[Tensor, "E F C"], Float[Tensor, "E F C"], Float[Tensor, "E C F"]]:
        """The weights in the order in which `swiglu` takes them."""
        return self.gate_proj, self.up_proj, self.down_proj


def pays_to_pad(queues: list[int]) -> bool:
    """Whether the queues are short, much the same length, and no gradient is wanted.

    A product of more than some 64 rows keeps two cores busy on its own, and the gradient of a
    batched product comes transposed and has to be copied.
    """
    longest, padded = max(queues), len(queues) * max(queues)
    return not torch.is_grad_enabled() and longest <= 64 and padded <= 2 * sum(queues)


def swiglu(
    x: Float[Tensor, "*E N C"],
    gate: Float[Tensor, "*E F C"],
    up: Float[Tensor, "*E F C"],
    down: Float[Tensor, "*E C F"],
) -> Float[Tensor, "*E N C"]:
    """W_down (silu(W_gate x) ⊙ W_up x), for one expert or for a stack of them."""
    return (functional.silu(x @ gate.mT) * (x @ up.mT)) @ down.mT


class MixtureOfExperts(nn.Module):
    """A router, its experts, and perhaps a shared one that works on every token.

    y = shared(x) + Σ_i weights[i] · expert_i(x): Shazeer et al. 2017, eq. 1 (arXiv:1701.06538);
    the shared expert is DeepSeekMoE's, eq. 9 (arXiv:2401.06066). With a `capacity_factor`, see
    `with_capacity`, a choice that finds no room adds 0. `routing` is the last call's choice,
    for losses and pictures.
    """

    def __init__(
        self,
        router: nn.Module,
        experts: nn.Module,
        shared: nn.Module | None = None,
        capacity_factor: float | None = None,
    ) -> None:
        super().__init__()
        self.router, self.experts, self.shared = router, experts, shared
        self.capacity_factor = capacity_factor
        self.routing: Routing | None = None

    def forward(self, x: Float[Tensor, "*lead C"]) -> Float[Tensor, "*lead C"]:
        """Each token through its own experts."""
        tokens = x.reshape(-1, x.size(-1))
        routing = self.router(tokens)
        if self.capacity_factor is not None:
            routing = with_capacity(routing, self.capacity_factor)
        self.routing = routing
        mixed = self.experts(tokens, routing).view_as(x)
        return mixed if self.shared is None else mixed + self.shared(x)

    def __getstate__(self) -> dict[str, object]:
        """What a copy takes along: not the last choice, which hangs on a graph."""
        return self.__dict__ | {"routing": None}
