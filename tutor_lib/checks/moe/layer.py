"""The whole layer: route, dispatch, compute, combine."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from tutor_lib.checks.diagnose import Exercise
from tutor_lib.checks.moe import use
from tutor_lib.checks.moe.combine import combine
from tutor_lib.checks.moe.dispatch import dispatch
from tutor_lib.checks.moe.gating import top_k_gating
from tutor_lib.checks.moe.speed import LOOPS


class _Reference(nn.Module):
    """The plain version; the misconceptions change a step of it."""

    def __init__(self, d_model: int, d_ff: int, n_experts: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.router = nn.Parameter(torch.randn(d_model, n_experts) * 0.02)
        self.w_in = nn.Parameter(torch.randn(n_experts, d_model, d_ff) * 0.02)
        self.w_out = nn.Parameter(torch.randn(n_experts, d_ff, d_model) * 0.02)

    def choose(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        best = (tokens @ self.router).topk(self.k)
        return best.values.softmax(-1), best.indices

    def expert(self, e: int, x: Tensor) -> Tensor:
        return functional.gelu(x @ self.w_in[e]) @ self.w_out[e]

    def weighted(self, e: int, x: Tensor, weights: Tensor) -> Tensor:
        return self.expert(e, x) * weights

    def mix(self, tokens: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        out = torch.zeros_like(tokens)
        for e in range(self.w_in.size(0)):
            token, slot = (experts == e).nonzero(as_tuple=True)
            answers = self.weighted(e, tokens[token], weights[token, slot].unsqueeze(-1))
            out = out.index_add(0, token, answers)
        return out

    def read(self, x: Tensor) -> Tensor:
        """What the router reads."""
        return x.flatten(0, 1)

    def flat(self, x: Tensor) -> Tensor:
        return self.mix(x.flatten(0, 1), *self.choose(self.read(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.flat(x).view_as(x)


MoE = Exercise(
    "MoE",
    _Reference,
    uses=(top_k_gating, dispatch, combine),
    # These count what PyTorch is asked for, and PyTorch calls them from the student's lines.
    welcome=("tutor_lib.checks.moe.products", "tutor_lib.checks.moe.speed"),
    learns=False,
)
MoE.part("MoE", 2, use.cases, use.values, results=("the layer's output",))
LEARN = tuple(f"whether a gradient reaches {name}" for name in ("router", "w_in", "w_out", "x"))
MoE.part("MoE_gradient", 1, use.one, use.largest, LEARN, reading=use.learning)
LENGTH = "the length of the output"
MoE.part("MoE_work", 1, use.wide, use.products, (use.WORK, LENGTH), reading=use.work)
MoE.part("MoE_speed", 1, use.longer, use.costs, (LOOPS, LENGTH), reading=use.speed)


@MoE.misconception
class RouterDetached(_Reference):
    """The values are right, but no gradient reaches the router: it would choose as it does at the
    start for ever. It learns through the weights alone, because a choice has no gradient. Look for
    .detach(), no_grad() or .item() between the logits and the weighted answers."""

    def choose(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        weights, experts = super().choose(tokens)
        return weights.detach(), experts


@MoE.misconception
class AllDetached(_Reference):
    """The values are right, but the layer's result carries no gradient: nothing in it would learn.
    Look for .detach(), no_grad(), .data or .item()."""

    def mix(self, tokens: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        return super().mix(tokens, weights, experts).detach()


@MoE.misconception
class ExpertsDetached(_Reference):
    """The values are right, but no gradient reaches the experts: only the router would learn. Look
    for .detach(), no_grad() or .data around their two products."""

    def expert(self, e: int, x: Tensor) -> Tensor:
        return super().expert(e, x).detach()


@MoE.misconception
class LoopsOverTokens(_Reference):
    """The values are right, but your Python walks through the tokens one by one: the more tokens,
    the more lines run. Give each expert all of its tokens at once, as the rows of one matrix."""

    def mix(self, tokens: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        rows = []
        for x, shares, chosen in zip(tokens, weights, experts, strict=True):
            pairs = zip(shares, chosen.tolist(), strict=True)
            rows.append(sum(share * self.expert(e, x) for share, e in pairs))
        return torch.stack(rows)


@MoE.misconception
class AllExpertsWork(_Reference):
    """The values are right, but every expert works on every token, and most of that is then
    multiplied by 0. So nothing is saved, and saving is what a mixture is for. Give each expert the
    tokens that chose it, and no others."""

    def mix(self, tokens: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        all_weights = torch.zeros_like(tokens @ self.router).scatter(1, experts, weights)
        answers = [self.expert(e, tokens) for e in range(self.w_in.size(0))]
        return (torch.stack(answers, -1) * all_weights.unsqueeze(1)).sum(-1)


@MoE.misconception
class AllExpertsSummed(_Reference):
    """You add up what all experts say to every token: nothing is chosen and nothing weighted. The
    gate says which k experts count for a token, and how much."""

    def mix(self, tokens: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        return torch.stack([self.expert(e, tokens) for e in range(self.w_in.size(0))]).sum(0)


@MoE.misconception
class NothingChosen(_Reference):
    """Every expert's answer counts, weighted by softmax over all E of them. Only the k experts
    that the gate chose count, and their weights sum to 1."""

    def choose(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        weights = (tokens @ self.router).softmax(-1)
        numbers = torch.arange(weights.size(1), device=weights.device)
        return weights, numbers.expand_as(weights)


@MoE.misconception
class WeightsLost(_Reference):
    """You add up the chosen experts' answers as they are. Each counts with its weight."""

    def weighted(self, e: int, x: Tensor, weights: Tensor) -> Tensor:
        return self.expert(e, x)


@MoE.misconception
class WeightsBeforeExperts(_Reference):
    """You multiply by the weight before the expert works, not after. GELU bends, so an expert's
    answer to half a token is not half its answer. Weigh the answers."""

    def weighted(self, e: int, x: Tensor, weights: Tensor) -> Tensor:
        return self.expert(e, x * weights)


@MoE.misconception
class WeightsTwice(_Reference):
    """Each answer is multiplied by its weight twice. Does combine do it already?"""

    def weighted(self, e: int, x: Tensor, weights: Tensor) -> Tensor:
        return self.expert(e, x) * weights**2


@MoE.misconception
class NotRenormalised(_Reference):
    """The weights of a token sum to less than 1: they are shares among all E experts. Does
    top_k_gating pass, and do you use it?"""

    def choose(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        best = (tokens @ self.router).softmax(-1).topk(self.k)
        return best.values, best.indices


@MoE.misconception
class OnlyTheBest(_Reference):
    """Each token goes to one expert only, whatever k is. It goes to k."""

    def choose(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        best = (tokens @ self.router).topk(1)
        return best.values.softmax(-1), best.indices


@MoE.misconception
class OneChoiceAText(_Reference):
    """All tokens of a text go to the same experts: your router reads the text's mean. Each token
    is routed by itself."""

    def read(self, x: Tensor) -> Tensor:
        return x.mean(1, keepdim=True).expand_as(x).flatten(0, 1)


@MoE.misconception
class RouterReadsAnother(_Reference):
    """The router reads the wrong token: yours chooses for each one by the token before it in the
    batch. The rows of the logits and of the tokens must stay in one order."""

    def read(self, x: Tensor) -> Tensor:
        return x.flatten(0, 1).roll(1, 0)


@MoE.misconception
class TokensNotLinedUp(_Reference):
    """The experts get the tokens in the order of the text, cut up by the lengths of the queues, so
    each works on tokens that are not its own. Take the tokens in the order that dispatch gives:
    choice c belongs to token c // k."""

    def mix(self, tokens: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        flat = experts.flatten()
        order, n_experts = flat.argsort(stable=True), self.w_in.size(0)
        queues = tokens.repeat_interleave(self.k, 0).split(
            flat.bincount(minlength=n_experts).tolist()
        )
        answers = torch.cat([self.expert(e, queue) for e, queue in enumerate(queues)])
        answers = answers * weights.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(tokens).index_add(0, order // self.k, answers)


@MoE.misconception
class RemainderForQuotient(_Reference):
    """Choice c gets the wrong token: you take c modulo N. The choices are numbered row by row, k
    of each token, so whose is number c?"""

    def mix(self, tokens: Tensor, weights: Tensor, experts: Tensor) -> Tensor:
        flat = experts.flatten()
        order, n_experts = flat.argsort(stable=True), self.w_in.size(0)
        queues = tokens[order % len(tokens)].split(flat.bincount(minlength=n_experts).tolist())
        answers = torch.cat([self.expert(e, queue) for e, queue in enumerate(queues)])
        answers = answers * weights.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(tokens).index_add(0, order // self.k, answers)


@MoE.misconception
class WithoutGELU(_Reference):
    """The experts do not bend: GELU is missing between their two matrices, and without it the two
    are no more than one."""

    def expert(self, e: int, x: Tensor) -> Tensor:
        return x @ self.w_in[e] @ self.w_out[e]


@MoE.misconception
class ReLUForGELU(_Reference):
    """Your experts bend with ReLU. Asked is GELU."""

    def expert(self, e: int, x: Tensor) -> Tensor:
        return (x @ self.w_in[e]).relu() @ self.w_out[e]


@MoE.misconception
class GELUAtTheEnd(_Reference):
    """Your experts bend after their second matrix. GELU stands between the two."""

    def expert(self, e: int, x: Tensor) -> Tensor:
        return functional.gelu(x @ self.w_in[e] @ self.w_out[e])


@MoE.misconception
class GELUTwice(_Reference):
    """Your experts bend twice: between their matrices and at the end. GELU stands between the two
    only; what an expert answers may be of any sign and size."""

    def expert(self, e: int, x: Tensor) -> Tensor:
        return functional.gelu(super().expert(e, x))


@MoE.misconception
class ResidualAdded(_Reference):
    """You add x to the result. The block around the layer does that; the layer returns only what
    its experts say."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


@MoE.misconception
class TextsMixedUp(_Reference):
    """The rows are right but stand in the wrong places: you flattened (B, T) with the axes in one
    order and went back with them in the other. Undo exactly what you did at the start."""

    def forward(self, x: Tensor) -> Tensor:
        return self.flat(x).view(x.size(1), x.size(0), -1).transpose(0, 1)


@MoE.misconception
class LeftFlat(_Reference):
    """The rows are right, but they are still (B T, C). Give back the shape of x."""

    def forward(self, x: Tensor) -> Tensor:
        return self.flat(x)
