"""Right answers to the attention lab, of as many make-ups as students find."""

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

# --- numpy_head ---------------------------------------------------------------------------------


def head_plain(x, w_q, w_k, w_v):
    q, k, v = x @ w_q, x @ w_k, x @ w_v
    scores = q @ k.T / np.sqrt(q.shape[1])
    powers = np.exp(scores)
    weights = powers / powers.sum(axis=1, keepdims=True)
    return weights @ v, weights


def head_shifted(x, w_q, w_k, w_v):
    scores = np.matmul(x.dot(w_q), (x @ w_k).transpose()) * w_q.shape[-1] ** -0.5
    e = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    p = e / np.sum(e, axis=-1)[:, None]
    return [np.dot(p, x @ w_v), p]


def head_loop(x, w_q, w_k, w_v):
    queries, keys, values = (x @ w for w in (w_q, w_k, w_v))
    output, weights = np.zeros_like(values), np.zeros((len(x), len(x)), dtype=x.dtype)
    for t, query in enumerate(queries):
        powers = [math.exp(sum(query * key) / math.sqrt(len(query))) for key in keys]
        for s, power in enumerate(powers):
            weights[t, s] = power / sum(powers)
            output[t] += weights[t, s] * values[s]
    return output, weights


def head_einsum(x, w_q, w_k, w_v):
    scores = np.einsum("tc,cd,sb,bd->ts", x, w_q, x, w_k) / math.sqrt(w_k.shape[1])
    weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
    return np.einsum("ts,sc,cd->td", weights, x, w_v), weights


def head_float64(x, w_q, w_k, w_v):
    x, w_q, w_k, w_v = (a.astype(np.float64) for a in (x, w_q, w_k, w_v))
    scores = (x @ w_q) @ (x @ w_k).T / np.sqrt(w_q.shape[1])
    weights = np.exp(scores - np.logaddexp.reduce(scores, axis=-1, keepdims=True))
    return weights @ (x @ w_v), weights


# --- plot_weights -------------------------------------------------------------------------------


def picture_of_lists(weights, tokens):
    axes = plt.figure().subplots()
    axes.imshow(weights.tolist())
    axes.set_xticks(range(len(tokens)), tokens, rotation=45)
    axes.set_yticks(range(len(tokens)), tokens)
    axes.set(xlabel="keys", ylabel="each query")
    return axes


def picture_matshow(weights, tokens):
    _, axes = plt.subplots()
    axes.matshow(np.asarray(weights))
    axes.set_xticks(np.arange(len(tokens)), labels=tokens)
    axes.set_yticks(np.arange(len(tokens)), labels=tokens)
    axes.set_xlabel("Key")
    axes.set_ylabel("Query")
    return axes


def picture_of_the_state_machine(weights, tokens):
    plt.figure()
    plt.imshow(weights, cmap="viridis")
    plt.colorbar()
    plt.xticks(range(len(tokens)), tokens)
    plt.yticks(range(len(tokens)), tokens)
    plt.xlabel("key position")
    plt.ylabel("query position")
    return plt.gcf().axes[0]


def picture_mesh(weights, tokens):
    _, axes = plt.subplots()
    axes.pcolormesh(weights)
    middles = [i + 0.5 for i in range(len(tokens))]
    axes.set(xticks=middles, yticks=middles, xticklabels=tokens, yticklabels=tokens)
    axes.set(xlabel="key", ylabel="query")
    axes.invert_yaxis()
    return axes


def picture_with_numbers(weights, tokens):
    axes = picture_of_lists(weights, tokens)
    for t in range(len(tokens)):
        for s in range(len(tokens)):
            axes.text(s, t, f"{float(weights[t][s]):.1f}")
    return axes


# --- softmax ------------------------------------------------------------------------------------


def softmax_by_loop(x, dim):
    rows = x.movedim(dim, -1)
    out = []
    for row in rows.reshape(-1, rows.shape[-1]):
        exps = [torch.exp(value - row.max()) for value in row]
        out.append(torch.stack([e / sum(exps) for e in exps]))
    return torch.stack(out).reshape(rows.shape).movedim(-1, dim)


def softmax_by_logsumexp(x, dim):
    return (x - x.logsumexp(dim, keepdim=True)).exp()


def softmax_moved_to_the_end(numbers, dim=-1):
    rows = numbers.transpose(dim, -1)
    exps = torch.exp(rows - rows.detach().max(-1, keepdim=True)[0])
    return (exps / torch.sum(exps, dim=-1, keepdim=True)).transpose(dim, -1)


def softmax_in_float64(x, dim):
    x = x.double()
    e = torch.exp(x - torch.max(x, dim, keepdim=True).values)
    return e / e.sum(dim, keepdims=True)


def softmax_by_unsqueeze(x, dim):
    e = (x - x.max(dim)[0].unsqueeze(dim)).exp()
    return e.div(e.sum(dim).unsqueeze(dim))


# --- attention_scores ---------------------------------------------------------------------------


def scores_einsum(q, k):
    return torch.einsum("...td,...sd->...ts", q, k) / q.shape[-1] ** 0.5


def scores_loop(q, k):
    *front, T, D = q.shape
    out = torch.zeros(*front, T, k.shape[-2], dtype=q.dtype, device=q.device)
    for t in range(T):
        for s in range(k.shape[-2]):
            out[..., t, s] = (q[..., t, :] * k[..., s, :]).sum(-1) / math.sqrt(D)
    return out


def scores_float64(q, k):
    return torch.matmul(q.double(), k.double().mT) * q.size(-1) ** -0.5


def scores_prescaled(queries, keys):
    return (queries / torch.tensor(queries.size(-1)).sqrt()) @ keys.swapaxes(-1, -2)


def scores_broadcast(q, k):
    return (q.unsqueeze(-2) * k.unsqueeze(-3)).sum(dim=-1) / math.sqrt(k.size(-1))


# --- causal_mask --------------------------------------------------------------------------------


def mask_by_comparison(T):
    return torch.arange(T)[None, :] <= torch.arange(T)[:, None]


def mask_by_lists(n):
    return torch.tensor([[s <= t for s in range(n)] for t in range(n)])


def mask_not_upper(T):
    return ~torch.triu(torch.ones(T, T, dtype=torch.bool), diagonal=1)


def mask_from_floats(T):
    return torch.tril(torch.ones((T, T))) == 1


def mask_by_rows(T):
    mask = torch.zeros(T, T).bool()
    for t in range(T):
        mask[t, : t + 1] = True
    return mask


# --- attention ----------------------------------------------------------------------------------


def attention_einsum(q, k, v, mask=None):
    scores = torch.einsum("...td,...sd->...ts", q, k) / math.sqrt(q.size(-1))
    if mask is not None:
        scores = torch.where(mask, scores, float("-inf"))
    p = scores.softmax(-1)
    return torch.einsum("...ts,...sd->...td", p, v), p


def attention_additive(q, k, v, mask=None):
    bias = 0
    if mask is not None:
        bias = torch.zeros(mask.shape, device=q.device).masked_fill(~mask, -math.inf)
    weights = F.softmax(q @ k.mT / math.sqrt(q.size(-1)) + bias, dim=-1)
    return weights @ v, weights


def attention_large_negative(q, k, v, mask=None):
    scores = attention_scores(q, k)
    if mask is not None:
        scores = scores.masked_fill(mask == 0, -1e9)
    weights = softmax(scores, -1)
    return [torch.matmul(weights, v), weights]


def attention_renormalised(q, k, v, mask=None):
    weights = torch.exp(attention_scores(q, k))
    if mask is not None:
        weights = weights * mask
    weights = weights / weights.sum(-1, keepdim=True)
    return weights @ v, weights


def attention_loop(q, k, v, mask=None):
    scores = scores_loop(q, k)
    if mask is not None:
        scores[~mask.expand(scores.shape)] = float("-inf")
    weights = softmax(scores, -1)
    output = 0
    for s in range(k.size(-2)):
        output = output + weights[..., :, s, None] * v[..., s, :].unsqueeze(-2)
    return output, weights


def attention_float64(q, k, v, mask=None):
    return attention_einsum(q.double(), k.double(), v.double(), mask)


# --- rotate -------------------------------------------------------------------------------------


def rotate_as_hugging_face(x, base=10_000.0):
    T, D = x.shape[-2:]
    inverse = 1.0 / base ** (torch.arange(0, D, 2, device=x.device).float() / D)
    angles = torch.outer(torch.arange(T, device=x.device).float(), inverse)
    both = torch.cat((angles, angles), dim=-1).to(x.dtype)
    swapped = torch.cat((-x[..., D // 2 :], x[..., : D // 2]), dim=-1)
    return x * both.cos() + swapped * both.sin()


def rotate_by_complex_numbers(x, base=10_000.0):
    half = x.size(-1) // 2
    theta = base ** (-torch.arange(half, dtype=torch.float64, device=x.device) / half)
    angles = torch.arange(x.size(-2), device=x.device)[:, None] * theta
    z = torch.complex(x[..., :half].double(), x[..., half:].double())
    z = z * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((z.real, z.imag), -1).to(x.dtype)


def rotate_by_loop(x, base=10_000.0):
    out = x.clone()
    T, D = x.shape[-2], x.shape[-1]
    for t in range(T):
        for i in range(D // 2):
            angle = t * base ** (-2 * i / D)
            a, b = x[..., t, i], x[..., t, i + D // 2]
            out[..., t, i] = a * math.cos(angle) - b * math.sin(angle)
            out[..., t, i + D // 2] = a * math.sin(angle) + b * math.cos(angle)
    return out


def rotate_by_matrices(x, base=10_000.0):
    half = x.size(-1) // 2
    theta = torch.exp(-math.log(base) * torch.arange(half, device=x.device) / half).to(x.dtype)
    angles = torch.arange(x.size(-2), device=x.device).to(x.dtype)[:, None] * theta
    cos, sin = torch.cos(angles), torch.sin(angles)
    turn = torch.stack((torch.stack((cos, -sin), -1), torch.stack((sin, cos), -1)), -2)
    pairs = torch.stack((x[..., :half], x[..., half:]), -1)  # (..., T, D/2, 2)
    return torch.einsum("tiab,...tib->...tia", turn, pairs).transpose(-1, -2).flatten(-2)


def rotate_through_neighbours(x, base=10_000.0):
    D = x.size(-1)
    x = x.unflatten(-1, (2, D // 2)).transpose(-1, -2)  # the partners side by side
    a, b = x.unbind(-1)
    powers = torch.arange(0, D, 2).to(x) / D
    angles = torch.arange(x.size(-3)).to(x).unsqueeze(-1) / base**powers
    return torch.cat((a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()), -1)


# --- MultiHeadAttention -------------------------------------------------------------------------


class ByView(nn.Module):
    def __init__(self, C, H, rope_base=None):
        super().__init__()
        self.n_heads, self.head_size, self.rope_base = H, C // H, rope_base
        self.q_proj = nn.Linear(C, C, bias=False)
        self.k_proj = nn.Linear(C, C, bias=False)
        self.v_proj = nn.Linear(C, C, bias=False)
        self.o_proj = nn.Linear(C, C, bias=False)

    def forward(self, x, mask=None, context=None):
        if context is None:
            context = x
        B, T, C = x.shape
        S = context.shape[1]
        q = self.q_proj(x).view(B, T, self.n_heads, self.head_size).transpose(1, 2)
        k = self.k_proj(context).view(B, S, self.n_heads, self.head_size).transpose(1, 2)
        v = self.v_proj(context).view(B, S, self.n_heads, self.head_size).transpose(1, 2)
        if self.rope_base is not None:
            q, k = rotate(q, self.rope_base), rotate(k, self.rope_base)
        output, weights = attention(q, k, v, mask)
        output = output.transpose(1, 2).contiguous().view(B, T, C)
        return self.o_proj(output), weights


class HeadByHead(nn.Module):
    """A loop over the heads, each with its rows of the projections."""

    def __init__(self, C, H, rope_base=None):
        super().__init__()
        self.H, self.base = H, rope_base
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            setattr(self, name, nn.Linear(C, C, bias=False))

    def forward(self, x, mask=None, context=None):
        source = x if context is None else context
        if mask is not None and mask.ndim == 4:
            mask = mask[:, 0]
        outputs, every = [], []
        every_q = self.q_proj(x).chunk(self.H, -1)
        every_k, every_v = self.k_proj(source).chunk(self.H, -1), self.v_proj(source)
        for q, k, v in zip(every_q, every_k, every_v.chunk(self.H, -1), strict=True):
            if self.base:
                q, k = rotate(q, self.base), rotate(k, self.base)
            output, weights = attention(q, k, v, mask)
            outputs.append(output)
            every.append(weights)
        return self.o_proj(torch.cat(outputs, dim=-1)), torch.stack(every, dim=1)


class ByEinsum(nn.Module):
    """The weight matrices are used as they are, without calling nn.Linear."""

    def __init__(self, width, heads, rope_base=None):
        super().__init__()
        self.heads, self.rope_base = heads, rope_base
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def project(self, x, linear):
        matrices = linear.weight.unflatten(0, (self.heads, -1))  # (H, D, C)
        return torch.einsum("btc,hdc->bhtd", x, matrices)

    def forward(self, x, mask=None, context=None):
        q = self.project(x, self.q_proj)
        k = self.project(x if context is None else context, self.k_proj)
        v = self.project(x if context is None else context, self.v_proj)
        if self.rope_base is not None:
            q, k = (rotate(t, base=self.rope_base) for t in (q, k))
        scores = torch.einsum("bhtd,bhsd->bhts", q, k) / math.sqrt(q.shape[-1])
        if mask is not None:
            scores = scores.masked_fill(mask.logical_not(), float("-inf"))
        weights = softmax(scores, dim=-1)
        mixed = torch.einsum("bhts,bhsd->bthd", weights, v).flatten(2)
        return torch.einsum("btc,dc->btd", mixed, self.o_proj.weight), weights


class BatchOfHeads(nn.Module):
    """Heads join the batch axis, so that attention sees three axes; parts have methods."""

    def __init__(self, C, H, rope_base=None):
        super().__init__()
        self.C, self.H, self.rope = C, H, rope_base
        self.q_proj, self.k_proj = nn.Linear(C, C, False), nn.Linear(C, C, False)
        self.v_proj, self.o_proj = nn.Linear(C, C, False), nn.Linear(C, C, False)

    def split(self, x):
        return x.reshape(x.shape[0], x.shape[1], self.H, -1).permute(0, 2, 1, 3).flatten(0, 1)

    def forward(self, x, mask=None, context=None):
        source = context if context is not None else x
        q, k = self.split(self.q_proj(x)), self.split(self.k_proj(source))
        v = self.split(self.v_proj(source))
        q, k = (q, k) if self.rope is None else (rotate(q, self.rope), rotate(k, self.rope))
        if mask is not None and mask.ndim > 2:
            mask = mask.expand(x.shape[0], self.H, -1, -1).flatten(0, 1)
        output, weights = attention(q, k, v, mask)
        output = output.unflatten(0, (-1, self.H)).movedim(1, 2)
        return self.o_proj(output.reshape(x.shape)), weights.unflatten(0, (-1, self.H))


class InFloat64(nn.Module):
    """Additive mask, sums in float64, and the output as a sum over heads of what each adds."""

    def __init__(self, C, H, rope_base=None):
        super().__init__()
        self.sizes, self.rope_base = (H, C // H), rope_base
        layers = {f"{n}_proj": nn.Linear(C, C, bias=False) for n in "qkvo"}
        for name, linear in layers.items():
            self.add_module(name, linear)

    def forward(self, x, mask=None, context=None):
        y = x if context is None else context
        q, k, v = (
            layer(z).double().unflatten(2, self.sizes).swapaxes(1, 2)
            for layer, z in ((self.q_proj, x), (self.k_proj, y), (self.v_proj, y))
        )
        if self.rope_base is not None:
            q, k = rotate(q, self.rope_base), rotate(k, self.rope_base)
        scores = q @ k.mT / self.sizes[1] ** 0.5
        if mask is not None:
            scores = scores + torch.zeros_like(mask, dtype=torch.float64).masked_fill(~mask, -1e30)
        p = torch.exp(scores - scores.logsumexp(-1, keepdim=True))
        each = self.o_proj.weight.double().unflatten(1, self.sizes)  # (C, H, D)
        out = sum((p[:, h] @ v[:, h]) @ each[:, h].T for h in range(self.sizes[0]))
        return out.to(x.dtype), p.to(x.dtype)


RIGHT = {
    "numpy_head": [head_plain, head_shifted, head_loop, head_einsum, head_float64],
    "plot_weights": [picture_of_lists, picture_matshow, picture_of_the_state_machine, picture_mesh,
                     picture_with_numbers],
    "softmax": [softmax_by_loop, softmax_by_logsumexp, softmax_moved_to_the_end,
                softmax_in_float64, softmax_by_unsqueeze],
    "attention_scores": [scores_einsum, scores_loop, scores_float64, scores_prescaled,
                         scores_broadcast],
    "causal_mask": [mask_by_comparison, mask_by_lists, mask_not_upper, mask_from_floats,
                    mask_by_rows],
    "attention": [attention_einsum, attention_additive, attention_large_negative,
                  attention_renormalised, attention_loop, attention_float64],
    "rotate": [rotate_as_hugging_face, rotate_by_complex_numbers, rotate_by_loop,
               rotate_by_matrices, rotate_through_neighbours],
    "MultiHeadAttention": [ByView, HeadByHead, ByEinsum, BatchOfHeads, InFloat64],
}  # fmt: skip
