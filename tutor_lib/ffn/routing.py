"""Which experts a token goes to, and what keeps all of them busy."""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.device import widened


@dataclass(frozen=True)
class Routing:
    """The experts of N tokens: k for each, the one most wanted first.

    Expert `experts[n, i]` counts `weights[n, i]` for token n. `logits` are what the router
    gave all E, before softmax or sigmoid. `kept` is False where an expert had no room left,
    and None without a capacity.
    """

    experts: Int[Tensor, "N k"]
    weights: Float[Tensor, "N k"]
    logits: Float[Tensor, "N E"]
    kept: Bool[Tensor, "N k"] | None = None

    @property
    def load(self) -> Int[Tensor, "E"]:
        """How many tokens want each expert, those without room among them."""
        return self.experts.flatten().bincount(minlength=self.logits.size(1))

    @property
    def n_dropped(self) -> int:
        """How many of the N · k choices found no room."""
        return 0 if self.kept is None else int((~self.kept).sum())

    def by_expert(self) -> tuple[Int[Tensor, "M"], list[int]]:
        """The M kept choices as one queue after another, and the length of each expert's queue.

        Choice i of token n has the number i · N + n. A queue is in order of these numbers:
        all first choices before all second ones, and among them as the tokens stand in the text.
        """
        experts, n_experts = self.experts, self.logits.size(1)
        if self.kept is not None:
            experts = experts.masked_fill(~self.kept, n_experts)  # a last queue, for nobody
        experts = experts.T.flatten()
        lengths = experts.bincount(minlength=n_experts).tolist()[:n_experts]
        return experts.argsort(stable=True)[: sum(lengths)], lengths


def with_capacity(routing: Routing, factor: float) -> Routing:
    """Let each expert take the first ⌈c N k / E⌉ tokens of its queue, and turn away the rest.

    Switch, eq. 3 (arXiv:2101.03961); the order of the queue is that of GShard, algorithm 1
    (arXiv:2006.16668). It makes a token's fate depend on the others of its batch.

    Raises ValueError unless 0 < c < ∞.
    """
    if not 0 < factor < math.inf:
        raise ValueError(f"the capacity factor must be positive and finite, got {factor}")
    room = math.ceil(factor * routing.experts.numel() / routing.logits.size(1))
    order, lengths = routing.by_expert()
    served = torch.cat([queue[:room] for queue in order.split(lengths)])
    kept = torch.zeros_like(routing.experts.T, dtype=torch.bool).flatten()
    kept[served] = True
    return dataclasses.replace(routing, kept=kept.view_as(routing.experts.T).T)


class Router(nn.Module):
    """A row of weights for each expert, whose product with a token is the expert's logit."""

    def __init__(self, d_model: int, n_experts: int, n_active: int) -> None:
        super().__init__()
        if not 1 <= n_active <= n_experts:
            raise ValueError(f"need 1 ≤ n_active ≤ n_experts, got {n_active} and {n_experts}")
        self.weight = nn.Parameter(torch.empty(n_experts, d_model))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # as nn.Linear's
        self.n_active = n_active


class SoftmaxRouter(Router):
    """softmax over the k largest logits: Mixtral, §2.1 (arXiv:2401.04088).

    The same as softmax over all, divided by the sum of the k largest: the weights of a token
    sum to 1. They are computed in float32 at least.

    Raises ValueError unless 1 ≤ n_active ≤ n_experts.
    """

    def forward(self, x: Float[Tensor, "N C"]) -> Routing:
        """Choose for each token."""
        logits = widened(functional.linear(x, self.weight))
        best = logits.topk(self.n_active)
        return Routing(best.indices, best.values.softmax(-1), logits)


class SigmoidRouter(Router):
    """DeepSeek-V3's: §2.1.2, eq. 12 to 16 (arXiv:2412.19437).

    Scores are s = sigmoid(logits). Chosen are the k experts with the largest s + bias in the
    best groups, where a group is worth the sum of its two best. Their weights are s, without
    the bias, divided by the sum and times `scale`. `balance` moves the bias; it has no gradient.
    All is computed in float32 at least; keep the bias in it, too.

    Raises ValueError unless 1 ≤ n_active ≤ n_experts, the groups are equal in size, and the
    active groups hold n_active experts.
    """

    bias: Tensor

    def __init__(
        self,
        d_model: int,
        n_experts: int,
        n_active: int,
        n_groups: int = 1,
        n_active_groups: int = 1,
        scale: float = 1.0,
    ) -> None:
        super().__init__(d_model, n_experts, n_active)
        if n_groups < 1 or n_experts % n_groups:
            raise ValueError(f"{n_experts} experts do not form {n_groups} equal groups")
        if not 1 <= n_active_groups <= n_groups:
            raise ValueError(
                f"need 1 ≤ n_active_groups ≤ n_groups, got {n_active_groups} and {n_groups}"
            )
        if n_active > (reach := n_active_groups * n_experts // n_groups):
            raise ValueError(f"the active groups hold {reach} experts, fewer than {n_active}")
        self.n_groups, self.n_active_groups, self.scale = n_groups, n_active_groups, scale
        self.register_buffer("bias", torch.zeros(n_experts))

    def forward(self, x: Float[Tensor, "N C"]) -> Routing:
        """Choose for each token."""
        logits = functional.linear(widened(x), widened(self.weight))
        scores = logits.sigmoid()
        experts = self._in_best_groups(scores + self.bias).topk(self.n_active).indices
        weights = scores.gather(1, experts)
        weights = self.scale * weights / (weights.sum(-1, keepdim=True) + 1e-20)  # not 0 / 0
        return Routing(experts, weights, logits)

    def _in_best_groups(self, scores: Tensor) -> Tensor:
        """-∞ for experts outside the token's best groups."""
        groups = scores.view(-1, self.n_groups, scores.size(1) // self.n_groups)
        worth = groups.topk(min(2, groups.size(2))).values.sum(-1)  # (N, groups)
        best = worth.topk(self.n_active_groups).indices
        outside = torch.ones_like(worth, dtype=torch.bool).scatter(1, best, False)
        return groups.masked_fill(outside.unsqueeze(-1), float("-inf")).view_as(scores)

    @torch.no_grad()
    def balance(self, routing: Routing, speed: float = 1e-3) -> None:
        """Make overloaded experts less likely to be chosen, and the others more; once a step.

        b_e ← b_e + u sign(mean load - load_e): Wang et al. 2024, algorithm 1
        (arXiv:2408.15664). No loss is needed, and no gradient disturbs the model's.

        Raises ValueError unless u > 0.
        """
        if not speed > 0:
            raise ValueError(f"the speed must be positive, got {speed}")
        load = routing.load.float()
        self.bias += speed * (load.mean() - load).sign()


def load_balancing_loss(routing: Routing) -> Float[Tensor, ""]:
    """E Σ f_e P_e: Switch, eq. 4 to 6 (arXiv:2101.03961).

    f_e is the share of tokens that want expert e, and P_e its mean probability, softmax over
    all logits. With k choices the f_e sum to k, as in Mixtral's code in `transformers`, so that
    an even load gives k (some divide by k). The gradient flows through P alone.

    Raises ValueError if there is no token.
    """
    _check_any_token(routing.logits)
    n_tokens, n_experts = routing.logits.shape
    share = routing.load / n_tokens
    return n_experts * (share * widened(routing.logits).softmax(-1).mean(0)).sum()


def router_z_loss(logits: Float[Tensor, "N E"]) -> Float[Tensor, ""]:
    """The mean of (log Σ exp logits)²: ST-MoE, eq. 5 (arXiv:2202.08906).

    It keeps the logits small, where rounding does no harm.

    Raises ValueError if there is no token.
    """
    _check_any_token(logits)
    return widened(logits).logsumexp(-1).square().mean()


def _check_any_token(logits: Tensor) -> None:
    if not logits.numel():
        raise ValueError(f"the loss needs a token, got logits of shape {tuple(logits.shape)}")
