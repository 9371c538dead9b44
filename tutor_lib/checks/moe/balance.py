"""The loss that keeps all experts busy, as students get it wrong."""

import torch
from torch import Tensor
from torch.nn import functional

from tutor_lib.checks.diagnose import Arguments, Exercise
from tutor_lib.checks.draw import Draw


def _case(draw: Draw, n_tokens: int, n_experts: int, k: int, lean: float = 1.0) -> Arguments:
    """Logits (N, E) that lean to the first experts, and the experts (N, k) that they choose."""
    logits = draw(n_tokens, n_experts) - lean * torch.arange(n_experts) / n_experts
    return logits, logits.topk(k).indices


def _cases(draw: Draw) -> list[Arguments]:
    logits, experts = _case(draw, 7, 5, 2)
    return [
        _case(draw, 3, 4, 2),  # (N, E), (N, k)
        _case(draw, 11, 5, 2),
        _case(draw, 7, 7, 3),  # N = E
        _case(draw, 13, 3, 1),
        _case(draw, 5, 11, 2, lean=9.0),  # nobody wants the last experts
        _case(draw, 1, 2, 1),
        (logits.double(), experts),
    ]


def _shares(logits: Tensor, experts: Tensor) -> Tensor:
    """f: the share of all choices that went to each expert."""
    return experts.flatten().bincount(minlength=logits.size(1)) / experts.numel()


def _reference(logits: Tensor, experts: Tensor) -> Tensor:
    means = logits.softmax(-1).mean(0)
    return logits.size(1) * (_shares(logits, experts) * means).sum()


load_balancing_loss = Exercise("load_balancing_loss", _reference)
load_balancing_loss.part("load_balancing_loss", 3, _cases, results=("the loss",))


@load_balancing_loss.misconception
def without_e(logits: Tensor, experts: Tensor) -> Tensor:
    """Your loss lacks the factor E, or it takes the mean over the experts where there is a sum.
    With it, an even load gives 1, however many experts there are."""
    return _reference(logits, experts) / logits.size(1)


@load_balancing_loss.misconception
def mean_and_no_e(logits: Tensor, experts: Tensor) -> Tensor:
    """Your loss is too small by E twice: the factor E is missing, and the products are averaged
    over the experts instead of summed."""
    return _reference(logits, experts) / logits.size(1) ** 2


@load_balancing_loss.misconception
def e_squared(logits: Tensor, experts: Tensor) -> Tensor:
    """Your loss is too large by the factor E. One E is enough to make an even load give 1."""
    return _reference(logits, experts) * logits.size(1)


@load_balancing_loss.misconception
def counts_for_shares(logits: Tensor, experts: Tensor) -> Tensor:
    """You use how many choices each expert got. f is a share: divide by the number of all choices,
    or the loss grows with the batch."""
    return _reference(logits, experts) * experts.numel()


@load_balancing_loss.misconception
def not_by_k(logits: Tensor, experts: Tensor) -> Tensor:
    """You divide the counts by the number of tokens, so that your f sum to k. Mixtral's code does
    so, too; here f is the share of all N k choices, and an even load gives 1, whatever k is."""
    return _reference(logits, experts) * experts.size(1)


@load_balancing_loss.misconception
def first_choices_only(logits: Tensor, experts: Tensor) -> Tensor:
    """Your f counts the first choice of each token only. All k choices are load."""
    return _reference(logits, experts[:, :1])


@load_balancing_loss.misconception
def last_idle_experts_left_out(logits: Tensor, experts: Tensor) -> Tensor:
    """Your f ends at the last expert that was chosen; those after it have no share, not even 0.
    Tell what counts how many experts there are."""
    f = experts.flatten().bincount() / experts.numel()
    return logits.size(1) * (f * logits.softmax(-1).mean(0)).sum()


@load_balancing_loss.misconception
def hard_twice(logits: Tensor, experts: Tensor) -> Tensor:
    """You use the shares of the choices in both places: E Σ f². Counts have no gradient, so no
    router would learn from it. One of the two is the mean probability P."""
    return logits.size(1) * (_shares(logits, experts) ** 2).sum().to(logits)


@load_balancing_loss.misconception
def soft_twice(logits: Tensor, experts: Tensor) -> Tensor:
    """You use the mean probabilities in both places: E Σ P². One of the two is f, the share of the
    choices: what really went where."""
    return logits.size(1) * logits.softmax(-1).mean(0).square().sum()


@load_balancing_loss.misconception
def weights_of_the_chosen(logits: Tensor, experts: Tensor) -> Tensor:
    """Your P comes from the weights of the k chosen experts. It is the mean of softmax over all E:
    an expert that is not chosen must feel a pull as well."""
    weights = logits.gather(1, experts).softmax(-1)
    means = torch.zeros_like(logits).scatter(1, experts, weights).mean(0)
    return logits.size(1) * (_shares(logits, experts) * means).sum()


@load_balancing_loss.misconception
def probabilities_of_the_chosen(logits: Tensor, experts: Tensor) -> Tensor:
    """Your P leaves out the probability of an expert wherever a token did not choose it. P is the
    mean of the whole softmax, over all tokens."""
    chosen = torch.zeros_like(logits).scatter(1, experts, 1.0)
    means = (logits.softmax(-1) * chosen).mean(0)
    return logits.size(1) * (_shares(logits, experts) * means).sum()


@load_balancing_loss.misconception
def averaged_after_multiplying(logits: Tensor, experts: Tensor) -> Tensor:
    """You multiply token by token and average then: the mean probability of what was chosen. Take
    the two means first, f and P, and multiply these."""
    chosen = torch.zeros_like(logits).scatter(1, experts, 1.0) / experts.size(1)
    return logits.size(1) * (logits.softmax(-1) * chosen).mean(0).sum()


@load_balancing_loss.misconception
def without_softmax(logits: Tensor, experts: Tensor) -> Tensor:
    """Your P is the mean of the logits. It is the mean of probabilities: softmax is missing."""
    return logits.size(1) * (_shares(logits, experts) * logits.mean(0)).sum()


@load_balancing_loss.misconception
def softmax_over_tokens(logits: Tensor, experts: Tensor) -> Tensor:
    """Your softmax runs over the tokens. The router's probabilities are those of the experts, the
    last axis; over the tokens comes the mean."""
    means = logits.softmax(0).mean(0)
    return logits.size(1) * (_shares(logits, experts) * means).sum()


@load_balancing_loss.misconception
def softmax_of_the_mean(logits: Tensor, experts: Tensor) -> Tensor:
    """You average the logits and take softmax then. Softmax of each token comes first, then the
    mean over the tokens."""
    means = logits.mean(0).softmax(-1)
    return logits.size(1) * (_shares(logits, experts) * means).sum()


@load_balancing_loss.misconception
def sigmoid(logits: Tensor, experts: Tensor) -> Tensor:
    """Your P is a mean of sigmoids. It is the mean of softmax over the experts."""
    return logits.size(1) * (_shares(logits, experts) * logits.sigmoid().mean(0)).sum()


@load_balancing_loss.misconception
def summed_over_tokens(logits: Tensor, experts: Tensor) -> Tensor:
    """You sum the probabilities over the tokens, so the loss grows with the batch. P is their
    mean."""
    return _reference(logits, experts) * len(logits)


@load_balancing_loss.misconception
def minus(logits: Tensor, experts: Tensor) -> Tensor:
    """Your loss has the wrong sign: it would reward an uneven load."""
    return -_reference(logits, experts)


@load_balancing_loss.misconception
def squared_distance(logits: Tensor, experts: Tensor) -> Tensor:
    """Your loss measures how far the shares of the choices are from 1/E. That tells an even load,
    but counts have no gradient. The loss asked for multiplies each share by a mean probability."""
    return (_shares(logits, experts) - 1 / logits.size(1)).square().sum().to(logits)


@load_balancing_loss.misconception
def cross_entropy(logits: Tensor, experts: Tensor) -> Tensor:
    """Your loss is a cross-entropy with the choices, which would make the router surer of what it
    chooses already. Multiply shares by mean probabilities."""
    return functional.cross_entropy(logits, experts[:, 0])
