"""Right answers to the lab on mixtures of experts, of other make-ups than ours."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# --- top_k_gating -------------------------------------------------------------------------------


def top_k_gating(logits, k):
    best, experts = torch.topk(logits, k, dim=1)
    return torch.softmax(best, dim=1), experts


def gating_renormalised(logits, k):
    weights, experts = F.softmax(logits, dim=-1).topk(k)
    return weights / weights.sum(dim=-1, keepdim=True), experts


def gating_by_sorting(logits, k):
    ordered, numbers = logits.sort(dim=-1, descending=True)
    exponentials = (ordered[:, :k] - ordered[:, :1]).exp()
    return [exponentials / exponentials.sum(-1, keepdim=True), numbers[:, :k]]


def gating_by_hiding(logits, k):
    experts = logits.argsort(-1, descending=True).narrow(1, 0, k)
    hidden = torch.full_like(logits, -math.inf).scatter(1, experts, logits.gather(1, experts))
    return hidden.softmax(-1).gather(1, experts), experts


def gating_one_after_the_other(logits, k):
    left, values, numbers = logits, [], []
    for _ in range(k):
        value, number = left.max(dim=-1, keepdim=True)
        left = left.scatter(-1, number, float("-inf"))
        values.append(value)
        numbers.append(number)
    return torch.cat(values, -1).log_softmax(-1).exp(), torch.cat(numbers, -1)


def gating_in_float64(logits, k):
    best = logits.double().topk(k)
    return best.values.softmax(-1), best.indices


def gating_by_rows(logits, k):
    rows = [row.topk(k) for row in logits]
    weights = torch.stack([torch.exp(r.values - r.values.logsumexp(0)) for r in rows])
    return weights, torch.stack([r.indices for r in rows])


# --- dispatch -----------------------------------------------------------------------------------


def dispatch(experts, n_experts):
    chosen = experts.reshape(-1)
    return torch.argsort(chosen, stable=True), torch.bincount(chosen, minlength=n_experts)


def dispatch_by_experts(experts, n_experts):
    flat = experts.flatten()
    queues = [(flat == e).nonzero().squeeze(1) for e in range(n_experts)]
    lengths = torch.tensor([len(queue) for queue in queues], device=experts.device)
    return torch.cat(queues), lengths


def dispatch_by_one_hot(experts, n_experts):
    wants = F.one_hot(experts.flatten(), n_experts)  # (N k, E)
    return wants.T.nonzero()[:, 1], wants.sum(0)


def dispatch_by_places(experts, n_experts):
    flat = experts.flatten()
    wants = F.one_hot(flat, n_experts)
    lengths = wants.sum(0)
    starts = lengths.cumsum(0) - lengths
    before = (wants.cumsum(0) - wants).gather(1, flat[:, None])[:, 0]
    numbers = torch.arange(len(flat), device=flat.device)
    return torch.empty_like(flat).scatter(0, starts[flat] + before, numbers), lengths


def dispatch_by_unique_keys(experts, n_experts):
    numbers = torch.arange(experts.numel(), device=experts.device)
    keys = experts.reshape(-1) * experts.numel() + numbers
    lengths = experts.new_zeros(n_experts).index_add(
        0, experts.reshape(-1), torch.ones_like(numbers)
    )
    return keys.sort().values % experts.numel(), lengths


def dispatch_by_comparing(experts, n_experts):
    lengths = (experts.unsqueeze(-1) == torch.arange(n_experts, device=experts.device)).sum((0, 1))
    return experts.flatten().sort(stable=True).indices, lengths


def dispatch_in_numpy(experts, n_experts):
    flat = experts.cpu().numpy().ravel()
    order, lengths = np.argsort(flat, kind="stable"), np.bincount(flat, minlength=n_experts)
    return torch.from_numpy(order).to(experts.device), torch.from_numpy(lengths).to(experts.device)


# --- combine ------------------------------------------------------------------------------------


def combine(answers, order, weights):
    back = torch.zeros_like(answers)
    back[order] = answers
    return (back.unflatten(0, weights.shape) * weights[..., None]).sum(dim=1)


def combine_by_inverse(answers, order, weights):
    n_tokens, k = weights.shape
    back = answers[order.argsort()].view(n_tokens, k, -1)
    return torch.einsum("nk,nkc->nc", weights, back)


def combine_by_index_add(answers, order, weights):
    n_tokens, k = weights.shape
    out = torch.zeros(n_tokens, answers.shape[1], dtype=answers.dtype, device=answers.device)
    token = torch.div(order, k, rounding_mode="floor")
    out.index_add_(0, token, answers * weights[token, order % k].unsqueeze(1))
    return out


def combine_by_matrix(answers, order, weights):
    # Row n of the matrix holds the weight of each answer for token n.
    n_tokens, k = weights.shape
    takes = weights.new_zeros(n_tokens, n_tokens * k)
    takes[order // k, torch.arange(n_tokens * k, device=order.device)] = weights.reshape(-1)[order]
    return takes @ answers


def combine_by_scatter_add(answers, order, weights):
    token = (order // weights.size(1)).unsqueeze(1).expand_as(answers)
    weighted = answers * weights.flatten().gather(0, order).unsqueeze(1)
    return answers.new_zeros(len(weights), answers.size(1)).scatter_add(0, token, weighted)


def combine_choice_by_choice(answers, order, weights):
    place = torch.argsort(order).view(weights.shape)
    total = 0
    for i in range(weights.size(1)):
        total = total + answers[place[:, i]] * weights[:, i : i + 1]
    return total


def combine_in_float64(answers, order, weights):
    place = order.argsort().view_as(weights)
    return torch.bmm(weights.double().unsqueeze(1), answers.double()[place]).squeeze(1)


# --- MoE ----------------------------------------------------------------------------------------


class MoE(nn.Module):
    def __init__(self, d_model, d_ff, n_experts, k):
        super().__init__()
        self.k = k
        self.router = nn.Parameter(torch.randn(d_model, n_experts) * 0.02)
        self.w_in = nn.Parameter(torch.randn(n_experts, d_model, d_ff) * 0.02)
        self.w_out = nn.Parameter(torch.randn(n_experts, d_ff, d_model) * 0.02)

    def forward(self, x):
        tokens = x.reshape(-1, x.shape[-1])
        weights, experts = top_k_gating(tokens @ self.router, self.k)
        order, lengths = dispatch(experts, self.w_in.shape[0])
        queues = tokens[order // self.k].split(lengths.tolist())
        answers = [F.gelu(q @ a) @ b for q, a, b in zip(queues, self.w_in, self.w_out, strict=True)]
        return combine(torch.cat(answers), order, weights).reshape(x.shape)


class ByExpertsMask(nn.Module):
    """As Mixtral's code in transformers: each expert looks for its tokens."""

    def __init__(self, C, hidden, E, k):
        super().__init__()
        self.n_chosen = k
        self.router = nn.Parameter(torch.empty(C, E).normal_(std=0.02))
        self.w_in = nn.Parameter(torch.empty(E, C, hidden).normal_(std=0.02))
        self.w_out = nn.Parameter(torch.empty(E, hidden, C).normal_(std=0.02))

    def forward(self, x):
        B, T, C = x.shape
        x = x.view(B * T, C)
        weights, experts = top_k_gating(torch.matmul(x, self.router), self.n_chosen)
        out = torch.zeros_like(x)
        for e in range(self.router.size(1)):
            token, slot = torch.where(experts == e)
            if token.numel() == 0:
                continue
            hidden = nn.functional.gelu(x[token] @ self.w_in[e])
            out.index_add_(0, token, hidden @ self.w_out[e] * weights[token, slot, None])
        return out.view(B, T, C)


class ByGathering(nn.Module):
    """Each token takes copies of its experts' matrices: no dispatch, much memory."""

    def __init__(self, d_model, d_ff, n_experts, k):
        super().__init__()
        self.k = k
        self.router = nn.Parameter(torch.rand(d_model, n_experts))
        self.w_in = nn.Parameter(torch.rand(n_experts, d_model, d_ff))
        self.w_out = nn.Parameter(torch.rand(n_experts, d_ff, d_model))

    def forward(self, x):
        logits = x @ self.router
        best, experts = logits.topk(self.k)
        weights = best.softmax(-1)  # (B, T, k)
        hidden = F.gelu(torch.einsum("btc,btkcf->btkf", x, self.w_in[experts]))
        return torch.einsum("btkf,btkfc,btk->btc", hidden, self.w_out[experts], weights)


class ByPadding(nn.Module):
    """All queues as long as the longest, and one batched product for all experts."""

    def __init__(self, d_model, d_ff, n_experts, k):
        super().__init__()
        self.sizes = d_model, n_experts, k
        self.router = nn.Parameter(torch.randn(d_model, n_experts))
        self.w_in = nn.Parameter(torch.randn(n_experts, d_model, d_ff))
        self.w_out = nn.Parameter(torch.randn(n_experts, d_ff, d_model))

    def forward(self, x):
        C, E, k = self.sizes
        tokens = x.flatten(end_dim=-2)
        weights, experts = top_k_gating(tokens @ self.router, k)
        order, lengths = dispatch(experts, E)
        expert = experts.flatten()[order]
        starts = lengths.cumsum(0) - lengths
        place = torch.arange(len(order), device=x.device) - starts[expert]
        padded = tokens.new_zeros(E, int(lengths.max()), C)
        padded[expert, place] = tokens[order // k]
        done = torch.bmm(F.gelu(torch.bmm(padded, self.w_in)), self.w_out)
        return combine(done[expert, place], order, weights).view_as(x)


class InParts(nn.Module):
    """Experts and router as methods, float64 inside."""

    def __init__(self, d_model, d_ff, n_experts, k):
        super().__init__()
        for name, shape in {
            "router": (d_model, n_experts),
            "w_in": (n_experts, d_model, d_ff),
            "w_out": (n_experts, d_ff, d_model),
        }.items():
            self.register_parameter(name, nn.Parameter(0.1 * torch.randn(shape)))
        self.k = k

    def route(self, tokens):
        return top_k_gating(tokens.double() @ self.router.double(), self.k)

    def expert(self, number, tokens):
        x = tokens.double() @ self.w_in[number].double()
        x = x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        return x @ self.w_out[number].double()

    def forward(self, x):
        tokens = torch.cat(x.unbind(0))
        weights, experts = self.route(tokens)
        order, lengths = dispatch(experts, self.w_out.size(0))
        ends = lengths.cumsum(0).tolist()
        token, answers = order // self.k, []
        for number, (start, end) in enumerate(zip([0, *ends[:-1]], ends, strict=True)):
            answers.append(self.expert(number, tokens[token[start:end]]))
        mixed = combine(torch.cat(answers), order, weights)
        return torch.stack(mixed.split(x.size(1))).to(x.dtype)


class TextByText(nn.Module):
    """A loop over the texts of the batch; the tokens of a text go together."""

    def __init__(self, d_model, d_ff, n_experts, k):
        super().__init__()
        self.router = nn.Parameter(torch.randn(d_model, n_experts))
        self.w_in = nn.Parameter(torch.randn(n_experts, d_model, d_ff))
        self.w_out = nn.Parameter(torch.randn(n_experts, d_ff, d_model))
        self.k, self.bend = k, nn.GELU()

    def one(self, text):
        weights, experts = top_k_gating(text @ self.router, self.k)
        everything = torch.zeros(len(text), len(self.w_in), dtype=text.dtype, device=text.device)
        weight = everything.scatter(1, experts, weights)
        rows = []
        for e, share in enumerate(weight.unbind(1)):
            mine = share.nonzero().flatten()
            answer = self.bend(text[mine] @ self.w_in[e]) @ self.w_out[e]
            rows.append(torch.zeros_like(text).index_copy(0, mine, answer * share[mine, None]))
        return torch.stack(rows).sum(0)

    def forward(self, x):
        return torch.stack([self.one(text) for text in x])


# --- load_balancing_loss ------------------------------------------------------------------------


def load_balancing_loss(logits, experts):
    E = logits.shape[-1]
    f = torch.bincount(experts.flatten(), minlength=E) / experts.numel()
    return E * torch.dot(f.to(logits), logits.softmax(dim=-1).mean(dim=0))


def balance_by_one_hot(logits, experts):
    n_experts = logits.size(1)
    share = F.one_hot(experts, n_experts).to(logits).mean((0, 1))
    return (share * F.softmax(logits, 1).mean(0)).sum() * n_experts


def balance_as_mean_over_experts(logits, experts):
    # The mean over E experts, times E², is E times the sum.
    E = logits.size(-1)
    f = torch.stack([(experts == e).sum() for e in range(E)]) / experts.numel()
    return (f * logits.softmax(-1).mean(0)).mean() * E**2


def balance_expert_by_expert(logits, experts):
    p = logits.exp() / logits.exp().sum(-1, keepdim=True)
    total = 0
    for e in range(logits.size(1)):
        total = total + (experts == e).to(p.dtype).mean() * p[:, e].mean()
    return logits.size(1) * total


def balance_by_scatter(logits, experts):
    n_tokens, n_experts = logits.shape
    chosen = torch.zeros_like(logits).scatter(1, experts, 1)
    counts = chosen.sum(0)
    probabilities = (logits - logits.logsumexp(1, keepdim=True)).exp().sum(0)
    return n_experts * (counts @ probabilities) / (n_tokens * experts.numel())


def balance_as_mixtral(logits, experts):
    """As `transformers` has it, divided by k."""
    mask = F.one_hot(experts, logits.size(1)).double()  # (N, k, E)
    tokens_per_expert = mask.mean(0)  # (k, E)
    router = logits.double().softmax(-1).mean(0)
    loss = (tokens_per_expert * router.unsqueeze(0)).sum() * logits.size(1)
    return (loss / experts.size(1)).to(logits.dtype)


def balance_by_choices(logits, experts):
    # f weighs P: the mean of P over all choices.
    means = logits.softmax(-1).mean(0)
    return means[experts].mean() * logits.size(-1)


# --- expert_capacity ----------------------------------------------------------------------------


def expert_capacity(n_tokens, n_experts, k, factor):
    return math.ceil(n_tokens * k * factor / n_experts)


def capacity_floor_of_minus(n_tokens, n_experts, k, factor):
    return -int(-factor * n_tokens * k // n_experts)


def capacity_in_numpy(n, E, k, c):
    return int(np.ceil(c * (n * k / E)))


def capacity_in_torch(n_tokens, n_experts, k, factor):
    return int(torch.tensor(factor * n_tokens * k / n_experts, dtype=torch.float64).ceil().item())


def capacity_by_hand(n_tokens, n_experts, k, factor):
    room = int(factor * n_tokens * k / n_experts)
    if room * n_experts < factor * n_tokens * k:
        room += 1
    return room


# --- drop_overflow ------------------------------------------------------------------------------


def drop_overflow(weights, experts, n_experts, capacity):
    wants = F.one_hot(experts.T.reshape(-1), n_experts)  # (k N, E)
    number = (wants.cumsum(0) * wants).sum(1)  # from 1 on
    kept = (number <= capacity).view(experts.size(1), experts.size(0)).T
    return weights * kept


def drop_by_experts(weights, experts, n_experts, capacity):
    served = torch.zeros_like(weights.T, dtype=torch.bool)
    for e in range(n_experts):
        i, n = torch.where(experts.T == e)
        served[i[:capacity], n[:capacity]] = True
    return torch.where(served.T, weights, 0)


def drop_by_sorting(weights, experts, n_experts, capacity):
    n_tokens, k = experts.shape
    queue = experts.permute(1, 0).flatten()
    order = queue.argsort(stable=True)
    lengths = queue.bincount(minlength=n_experts)
    starts = (lengths.cumsum(0) - lengths)[queue[order]]
    place = torch.arange(n_tokens * k, device=queue.device) - starts
    too_late = torch.empty_like(queue, dtype=torch.bool)
    too_late[order] = place >= capacity
    return weights.masked_fill(too_late.view(k, n_tokens).T, 0.0)


def drop_choice_by_choice(weights, experts, n_experts, capacity):
    taken = torch.zeros(n_experts, dtype=torch.long, device=experts.device)
    columns = []
    for i in range(experts.size(1)):
        wants = F.one_hot(experts[:, i], n_experts)
        before = taken + wants.cumsum(0) - wants  # (N, E)
        kept = before.gather(1, experts[:, i : i + 1]) < capacity
        columns.append(weights[:, i : i + 1] * kept)
        taken = taken + wants.sum(0)
    return torch.cat(columns, 1)


def drop_by_comparing_all(weights, experts, n_experts, capacity):
    queue = experts.T.reshape(-1)
    same = queue[:, None] == queue[None, :]
    before = same.tril(-1).sum(1)
    kept = before < capacity
    return weights * kept.reshape(experts.shape[1], -1).T.to(weights.dtype)


def drop_in_a_copy(weights, experts, n_experts, capacity):
    out = weights.clone().T.flatten()
    queue = experts.T.flatten()
    for e in range(n_experts):
        out[(queue == e).nonzero()[capacity:]] = 0
    return out.view(weights.size(1), weights.size(0)).T


# --- parameter_counts ---------------------------------------------------------------------------


def parameter_counts(d_model, d_ff, n_experts, k):
    return (
        d_model * n_experts + n_experts * 2 * d_model * d_ff,
        d_model * n_experts + k * 2 * d_model * d_ff,
    )


def counts_factored(C, F, E, k):
    return C * E * (1 + 2 * F), C * (E + 2 * k * F)


def counts_of_tensors(d_model, d_ff, n_experts, k):
    router = torch.empty(d_model, n_experts, device="meta").numel()
    one = torch.empty(d_model, d_ff, device="meta").numel()
    one += torch.empty(d_ff, d_model, device="meta").numel()
    return router + one * n_experts, router + one * k


def counts_by_subtraction(d_model, d_ff, n_experts, k):
    expert = sum(math.prod(shape) for shape in [(d_model, d_ff), (d_ff, d_model)])
    total = d_model * n_experts + n_experts * expert
    return total, total - (n_experts - k) * expert


def counts_by_adding_up(d_model, d_ff, n_experts, k):
    counts = [n_experts * d_model] * 2
    for e in range(n_experts):
        counts[0] += d_model * d_ff + d_ff * d_model
        if e < k:
            counts[1] += d_model * d_ff + d_ff * d_model
    return counts


RIGHT = {
    "top_k_gating": [top_k_gating, gating_renormalised, gating_by_sorting, gating_by_hiding,
                     gating_one_after_the_other, gating_in_float64, gating_by_rows],
    "dispatch": [dispatch, dispatch_by_experts, dispatch_by_one_hot, dispatch_by_places,
                 dispatch_by_unique_keys, dispatch_by_comparing, dispatch_in_numpy],
    "combine": [combine, combine_by_inverse, combine_by_index_add, combine_by_matrix,
                combine_by_scatter_add, combine_choice_by_choice, combine_in_float64],
    "MoE": [MoE, ByExpertsMask, ByGathering, ByPadding, InParts, TextByText],
    "load_balancing_loss": [load_balancing_loss, balance_by_one_hot, balance_as_mean_over_experts,
                            balance_expert_by_expert, balance_by_scatter, balance_as_mixtral,
                            balance_by_choices],
    "expert_capacity": [expert_capacity, capacity_floor_of_minus, capacity_in_numpy,
                        capacity_in_torch, capacity_by_hand],
    "drop_overflow": [drop_overflow, drop_by_experts, drop_by_sorting, drop_choice_by_choice,
                      drop_by_comparing_all, drop_in_a_copy],
    "parameter_counts": [parameter_counts, counts_factored, counts_of_tensors,
                         counts_by_subtraction, counts_by_adding_up],
}  # fmt: skip
