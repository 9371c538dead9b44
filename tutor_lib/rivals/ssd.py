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

    Raises ValueError if G does not divide H, or there is no token.
    """
    a, heads = log_decay.exp(), _heads_a_group(x, b)
    b, c = (y.repeat_interleave(heads, dim=2) for y in (b, c))  # (B, T, H, N)
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

    Raises ValueError if G does not divide H, or there is no token.
    """
    scores = torch.einsum("btgn,bsgn->bgts", c, b)
    scores = scores.repeat_interleave(_heads_a_group(x, b), dim=1)  # (B, H, T, T)
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

    Raises ValueError if `chunk` is not positive, G does not divide H, or there is no token.
    """
    if chunk < 1:
        raise ValueError(f"a chunk needs at least one token, got {chunk}")
    length, heads = x.size(1), _heads_a_group(x, b)
    # Tokens of zeros at the end write nothing, and without decay they leave the state alone.
    x, log_decay, b, c = (_chunks(y, min(chunk, length)) for y in (x, log_decay, b, c))
    x = x.unflatten(3, (-1, heads)).transpose(2, 3)  # (B, Z, G, L, J, D): Z chunks, J heads
    b, c = b.transpose(2, 3), c.transpose(2, 3)  # (B, Z, G, L, N)
    log_decay = log_decay.unflatten(3, (-1, heads)).permute(0, 1, 3, 4, 2)  # (B, Z, G, J, L)
    sums, since_start = segment_sums(log_decay), log_decay.cumsum(-1)
    written = _write(x, sums[..., -1, :], b)
    starts, state = _hand_on(written, since_start[..., -1], state)
    y = _attend(x, sums, b, c) + _read(starts, since_start, c)
    return y.transpose(2, 3).flatten(3, 4).flatten(1, 2)[:, :length], state


def _attend(x: Tensor, sums: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """What each token reads of those of its own chunk: the quadratic form."""
    weights = sums.exp() * (c @ b.mT).unsqueeze(3)  # (B, Z, G, J, L, L)
    return (weights @ x.transpose(3, 4)).transpose(3, 4)  # (B, Z, G, L, J, D)


def _write(x: Tensor, until_end: Tensor, b: Tensor) -> Tensor:
    """What the tokens of each chunk leave in the state at its end."""
    x = until_end.exp().mT.unsqueeze(-1) * x  # (B, Z, G, L, J, D)
    return (x.flatten(4).mT @ b).unflatten(3, x.shape[4:])  # (B, Z, G, J, D, N)


def _hand_on(written: Tensor, decay: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """The state before each chunk, (B, Z, G, J, D, N), and that after the last one."""
    kept, shape, starts = decay.exp()[..., None, None], state.shape, []
    state = state.reshape(written[:, 0].shape)
    for z in range(written.size(1)):
        starts.append(state)
        state = kept[:, z] * state + written[:, z]
    return torch.stack(starts, dim=1), state.view(shape)


def _read(starts: Tensor, since_start: Tensor, c: Tensor) -> Tensor:
    """What each token reads of the state before its chunk, as far as it has not decayed."""
    y = (c @ starts.flatten(3, 4).mT).unflatten(4, starts.shape[3:5])  # (B, Z, G, L, J, D)
    return since_start.exp().mT.unsqueeze(-1) * y


def _chunks(x: Tensor, size: int) -> Tensor:
    """(B, T, …) as (B, Z, L, …), with zeros at the end where the last chunk is not full."""
    padded = functional.pad(x, (0, 0) * (x.ndim - 2) + (0, -x.size(1) % size))
    return padded.unflatten(1, (-1, size))


def _heads_a_group(x: Tensor, b: Tensor) -> int:
    """H / G. Raises ValueError if G does not divide H, or there is no token."""
    if not x.size(1):
        raise ValueError(f"there is no token to read in a sequence of shape {tuple(x.shape)}")
    if x.size(2) % b.size(2):
        raise ValueError(f"{x.size(2)} heads do not form {b.size(2)} equal groups")
    return x.size(2) // b.size(2)


def segment_sums(x: Float[Tensor, "*lead T"]) -> Float[Tensor, "*lead T T"]:
    """Σ x_{s+1} … x_t at [t, s]; 0 on the diagonal, -∞ above it: `segsum` in listing 1.

    Each sum is summed up by itself. The listing's difference of two cumulative sums rounds, and
    after one large x it would lose the small ones that follow.
    """
    length = x.size(-1)
    ones = torch.ones(length, length, dtype=torch.bool, device=x.device)
    terms = x.unsqueeze(-1).masked_fill(~ones.tril(-1), 0)  # x_t at [t, s] where s < t
    return terms.cumsum(-2).masked_fill(~ones.tril(), float("-inf"))
