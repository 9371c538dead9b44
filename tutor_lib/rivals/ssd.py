"""State-space duality: one recurrence, which is also a masked attention, computed in three ways.

Dao and Gu 2024 (arXiv:2405.21060). Each head has a state S of D × N numbers, and

    S_t = a_t S_{t-1} + x_t b_tᵀ,    y_t = S_t c_t,

with one decay a_t = exp(log_decay_t) for all of it. Written out, y_t is a sum over the past,
y_t = Σ_{s≤t} a_{s+1} … a_t (c_t · b_s) x_s: attention with queries c, keys b, values x and the
products of the decays instead of the softmax. `b` and `c` are shared by the heads of a group.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

Output = tuple[Float[Tensor, "B T H D"], Float[Tensor, "B H D N"]]


def ssd_recurrent(
    x: Float[Tensor, "B T H D"],
    log_decay: Float[Tensor, "B T H"],
    b: Float[Tensor, "B T G N"],
    c: Float[Tensor, "B T G N"],
    state: Float[Tensor, "B H D N"],
) -> Output:
    """One token after the other, as in generation. T · H · D · N steps of work.

    `log_decay` is negative or 0. Returns all outputs, and the state after the last.
    """
    a, heads_a_group = log_decay.exp(), x.size(2) // b.size(2)
    b, c = (y.repeat_interleave(heads_a_group, dim=2) for y in (b, c))  # (B, T, H, N)
    outputs = []
    for t in range(x.size(1)):
        new = x[:, t, :, :, None] * b[:, t, :, None]  # (B, H, D, N)
        state = a[:, t, :, None, None] * state + new
        outputs.append((state @ c[:, t, :, :, None]).squeeze(-1))
    return torch.stack(outputs, dim=1), state


def ssd_quadratic(
    x: Float[Tensor, "B T H D"],
    log_decay: Float[Tensor, "B T H"],
    b: Float[Tensor, "B T G N"],
    c: Float[Tensor, "B T G N"],
) -> Float[Tensor, "B T H D"]:
    """All tokens at once, from an empty state: (L ∘ c bᵀ) x. T² · H · (N + D) steps of work.

    L holds the products of the decays, a_{s+1} … a_t where s ≤ t and 0 elsewhere: the mask.
    """
    scores = torch.einsum("btgn,bsgn->bgts", c, b)
    scores = scores.repeat_interleave(x.size(2) // b.size(2), dim=1)  # (B, H, T, T)
    weights = segment_sums(log_decay.transpose(1, 2)).exp() * scores
    return torch.einsum("bhts,bshd->bthd", weights, x)


def ssd_chunked(
    x: Float[Tensor, "B T H D"],
    log_decay: Float[Tensor, "B T H"],
    b: Float[Tensor, "B T G N"],
    c: Float[Tensor, "B T G N"],
    state: Float[Tensor, "B H D N"],
    chunk: int = 64,
) -> Output:
    """Quadratic within chunks of L tokens, recurrent from chunk to chunk: §6.

    T · H · (L · (N + D) + D · N) steps of work, nearly all of them in matrix products.

    Raises ValueError if `chunk` is not positive.
    """
    if chunk < 1:
        raise ValueError(f"a chunk needs at least one token, got {chunk}")
    length, n_groups = x.size(1), b.size(2)
    # Tokens of zeros at the end read nothing, and without decay they leave the state alone.
    x, log_decay, b, c = (_chunks(y, min(chunk, length)) for y in (x, log_decay, b, c))
    x = x.unflatten(3, (n_groups, -1)).transpose(2, 3)  # (B, Z, G, L, H/G, D)
    b, c = b.transpose(2, 3), c.transpose(2, 3)  # (B, Z, G, L, N)
    decay = log_decay.unflatten(3, (n_groups, -1)).permute(0, 1, 3, 4, 2)  # (B, Z, G, H/G, L)
    sums = segment_sums(decay)  # (B, Z, G, H/G, L, L)
    from_start = decay.cumsum(-1).exp().transpose(-1, -2).unsqueeze(-1)  # (B, Z, G, L, H/G, 1)
    to_end = sums[..., -1, :].exp().transpose(-1, -2).unsqueeze(-1)

    weights = sums.exp() * (c @ b.transpose(-1, -2)).unsqueeze(3)
    within = (weights @ x.transpose(3, 4)).transpose(3, 4)  # (B, Z, G, L, H/G, D)
    added = (to_end * x).flatten(4).transpose(-1, -2) @ b  # (B, Z, G, H/G · D, N)
    kept = from_start[:, :, :, -1]  # (B, Z, G, H/G, 1)
    starts, state = _hand_on(added.unflatten(3, (kept.size(3), -1)), kept.unsqueeze(-1), state)
    before = (c @ starts.flatten(3, 4).transpose(-1, -2)).unflatten(4, (kept.size(3), -1))
    y = within + from_start * before
    return y.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :length], state


def segment_sums(x: Float[Tensor, "*lead T"]) -> Float[Tensor, "*lead T T"]:
    """Σ x_{s+1} … x_t at [t, s]; 0 on the diagonal, -∞ above it: listing 1.

    Each sum is summed up by itself. A difference of two cumulative sums would round, and after
    one large x it would lose the small ones that follow.
    """
    length = x.size(-1)
    ones = torch.ones(length, length, dtype=torch.bool, device=x.device)
    terms = x.unsqueeze(-1).masked_fill(~ones.tril(-1), 0)  # x_t at [t, s] where s < t
    return terms.cumsum(-2).masked_fill(~ones.tril(), float("-inf"))


def _chunks(x: Tensor, size: int) -> Tensor:
    """(B, T, …) as (B, Z, L, …), with zeros at the end where the last chunk is not full."""
    padded = functional.pad(x, (0, 0) * (x.ndim - 2) + (0, -x.size(1) % size))
    return padded.unflatten(1, (-1, size))


def _hand_on(
    added: Float[Tensor, "B Z *head D N"], kept: Float[Tensor, "B Z *head 1 1"], state: Tensor
) -> tuple[Float[Tensor, "B Z *head D N"], Tensor]:
    """The state at the start of each chunk, and after the last one."""
    shape, starts = state.shape, []
    state = state.view_as(added[:, 0])
    for z in range(added.size(1)):
        starts.append(state)
        state = kept[:, z] * state + added[:, z]
    return torch.stack(starts, dim=1), state.view(shape)
