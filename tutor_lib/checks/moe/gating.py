"""Choosing the k experts of each token, as students get it wrong."""

import torch
from torch import Tensor

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw

Pair = tuple[Tensor, Tensor]


def _cases(draw: Draw) -> list[Arguments]:
    return [
        (draw(3, 4), 2),  # (N, E)
        (draw(7, 5), 3),
        (draw(11, 11), 2),  # N = E: a wrong axis fits as well
        (draw(2, 13), 5),
        (draw(5, 3), 1),
        (draw(5, 3), 3),
        (draw(1, 7).double(), 2),
    ]


def _reference(logits: Tensor, k: int) -> Pair:
    best = logits.topk(k, dim=-1)
    return best.values.softmax(-1), best.indices


def _rows(result: Pair, logits: Tensor, k: int) -> str | None:
    total = result[0].sum(-1)
    if torch.allclose(total, torch.ones_like(total), atol=1e-3):
        return None
    return f"The weights of a token sum to 1; those of your first sum to {total[0]:.4g}."


def _order(result: Pair, logits: Tensor, k: int) -> str | None:
    wanted = logits.gather(-1, result[1].clamp(0, logits.size(-1) - 1))
    if (wanted[:, :-1] >= wanted[:, 1:]).all():
        return None
    return "The experts of a token stand in the order of their logits, the largest first."


top_k_gating = Exercise("top_k_gating", _reference)
RESULTS = ("the weight matrix", "the matrix of experts")
top_k_gating.part("top_k_gating", 3, _cases, results=RESULTS, laws=(_rows, _order))


@top_k_gating.misconception
def not_renormalised(logits: Tensor, k: int) -> Pair:
    """The experts are right, but the weights of a token sum to less than 1: they are shares among
    all E experts, and E − k of these do not work. Share out a full 1 among those chosen."""
    best = logits.softmax(-1).topk(k)
    return best.values, best.indices


@top_k_gating.misconception
def softmax_twice(logits: Tensor, k: int) -> Pair:
    """Your weights went through softmax twice: once over all experts and once more over the k
    chosen. That makes them nearly equal, whatever the router wants. One softmax does it; or
    divide by the sum where the probabilities are there already."""
    best = logits.softmax(-1).topk(k)
    return best.values.softmax(-1), best.indices


@top_k_gating.misconception
def softmax_over_tokens(logits: Tensor, k: int) -> Pair:
    """Your softmax runs over the tokens, the first axis, so what a token gets depends on the other
    tokens. Each token has a softmax of its own, over experts."""
    best = logits.topk(k)
    return best.values.softmax(0), best.indices


@top_k_gating.misconception
def shares_over_tokens(logits: Tensor, k: int) -> Pair:
    """You took softmax over the tokens before choosing, so both choice and weights of a token
    depend on the other tokens. Softmax runs over the experts, the last axis."""
    best = logits.softmax(0).topk(k)
    return best.values / best.values.sum(-1, keepdim=True), best.indices


@top_k_gating.misconception
def shares_over_tokens_as_they_are(logits: Tensor, k: int) -> Pair:
    """You took softmax over the tokens before choosing, so both choice and weights of a token
    depend on the other tokens; and the weights of a token do not sum to 1. Softmax runs over the
    experts."""
    best = logits.softmax(0).topk(k)
    return best.values, best.indices


@top_k_gating.misconception
def softmax_over_batch(logits: Tensor, k: int) -> Pair:
    """All your weights together sum to 1. Each token has a softmax of its own, whose k weights sum
    to 1."""
    best = logits.topk(k)
    return best.values.flatten().softmax(0).view_as(best.values), best.indices


@top_k_gating.misconception
def renormalised_over_batch(logits: Tensor, k: int) -> Pair:
    """You divide by the sum over the whole batch. Divide each token's weights by that token's own
    sum; it has to keep its axis to line up."""
    best = logits.softmax(-1).topk(k)
    return best.values / best.values.sum(), best.indices


@top_k_gating.misconception
def sigmoid(logits: Tensor, k: int) -> Pair:
    """Your weights are sigmoids of the logits: each lies between 0 and 1 on its own, and nothing
    makes the k of a token sum to 1."""
    best = logits.topk(k)
    return best.values.sigmoid(), best.indices


@top_k_gating.misconception
def sigmoid_renormalised(logits: Tensor, k: int) -> Pair:
    """Your weights are sigmoids, divided by their sum. DeepSeek-V3 does so; here they come from
    softmax, so that the ratio of two weights is the exponential of the difference in logits."""
    best = logits.sigmoid().topk(k)
    return best.values / best.values.sum(-1, keepdim=True), best.indices


@top_k_gating.misconception
def logits_as_weights(logits: Tensor, k: int) -> Pair:
    """Your weights are the logits themselves: softmax is missing, so nothing makes them positive
    and sum to 1."""
    best = logits.topk(k)
    return best.values, best.indices


@top_k_gating.misconception
def logits_by_their_sum(logits: Tensor, k: int) -> Pair:
    """You divide the logits by their sum, without exp. Logits may be negative, and their sum may
    be 0: only softmax makes weights out of them."""
    best = logits.topk(k)
    return best.values / best.values.sum(-1, keepdim=True), best.indices


@top_k_gating.misconception
def equal_weights(logits: Tensor, k: int) -> Pair:
    """The experts are right, but all k weigh the same. The router says also how much it wants
    each: softmax of the chosen logits. (Equal weights would teach the router nothing.)"""
    best = logits.topk(k)
    return torch.full_like(best.values, 1 / k), best.indices


@top_k_gating.misconception
def bottom_k(logits: Tensor, k: int) -> Pair:
    """You chose the k experts with the smallest logits. The router wants those with the
    largest."""
    best = logits.topk(k, largest=False)
    return best.values.softmax(-1), best.indices


@top_k_gating.misconception
def smallest_first(logits: Tensor, k: int) -> Pair:
    """The experts are the right ones, with the right weights, but the one most wanted comes last.
    It comes first."""
    best = logits.topk(k)
    return best.values.softmax(-1).flip(-1), best.indices.flip(-1)


@top_k_gating.misconception
def only_the_best(logits: Tensor, k: int) -> Pair:
    """You choose one expert a token, whatever k is. Choose k."""
    best = logits.topk(1)
    return best.values.softmax(-1), best.indices


@top_k_gating.misconception
def experts_sorted_alone(logits: Tensor, k: int) -> Pair:
    """You put the experts into the order of their numbers and left the weights where they were, so
    that they no longer belong together. Keep both in the order of the logits."""
    best = logits.topk(k)
    return best.values.softmax(-1), best.indices.sort(-1).values


@top_k_gating.misconception
def sorted_by_number(logits: Tensor, k: int) -> Pair:
    """The experts and their weights fit each other, but stand in the order of the experts'
    numbers. The one most wanted comes first."""
    best = logits.topk(k)
    order = best.indices.argsort(-1)
    return best.values.softmax(-1).gather(-1, order), best.indices.gather(-1, order)


@top_k_gating.misconception
def first_weights_of_all(logits: Tensor, k: int) -> Pair:
    """The experts are right, but the weights belong to experts 0 to k − 1, not to those chosen.
    Take each chosen expert's own."""
    return logits[:, :k].softmax(-1), logits.topk(k).indices


@top_k_gating.misconception
def exchanged(logits: Tensor, k: int) -> Pair:
    """Both results are right, in the wrong order. Return the weights first, then the experts."""
    weights, experts = _reference(logits, k)
    return experts, weights


@top_k_gating.misconception
def only_weights(logits: Tensor, k: int) -> Tensor:
    """The weights are right, but they come alone. Return two things: the weights, then the numbers
    of the experts they belong to."""
    return _reference(logits, k)[0]


@top_k_gating.misconception
def zeros_for_the_others(logits: Tensor, k: int) -> Pair:
    """Your weights have a column for each of the E experts, with 0 for those not chosen. Right
    values, but the others need no place: return the k of each token, in the order of the
    experts beside them."""
    weights, experts = _reference(logits, k)
    return torch.zeros_like(logits).scatter(-1, experts, weights), experts


@top_k_gating.misconception
def others_hidden_with_zero(logits: Tensor, k: int) -> Pair:
    """Before softmax you set the logits of the experts not chosen to 0. But exp(0) is 1, so they
    still take a share, and the weights of the k chosen sum to less than 1."""
    best = logits.topk(k)
    hidden = torch.zeros_like(logits).scatter(-1, best.indices, best.values)
    return hidden.softmax(-1).gather(-1, best.indices), best.indices


@top_k_gating.misconception
def experts_choose(logits: Tensor, k: int) -> Pair:
    """You let each expert choose its k tokens: topk ran over the first axis, or over the logits
    turned on their side. Each token chooses its experts."""
    best = logits.topk(k, dim=0)
    return best.values.softmax(0), best.indices
