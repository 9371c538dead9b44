"""Levenberg–Marquardt, for many starts and many samples of the data at once."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def log_sums(
    features: Float[Tensor, "n K P"], theta: Float[Tensor, "S P"]
) -> tuple[Float[Tensor, "S n"], Float[Tensor, "S n P"]]:
    """log Σ_k exp(features_k · θ), and its gradient: the features, averaged by their terms."""
    terms = torch.einsum("nkp,sp->snk", features, theta)
    return terms.logsumexp(-1), torch.einsum("snk,nkp->snp", terms.softmax(-1), features)


def fit_log_sums(
    features: Float[Tensor, "n K P"],
    y: Float[Tensor, "n"],
    starts: Float[Tensor, "S P"],
    weights: Float[Tensor, "S n"],
    delta: float = math.inf,
    steps: int = 300,
) -> tuple[Float[Tensor, "S P"], Float[Tensor, "S"]]:
    """From each start, the θ that makes Σ weights · Huber_δ(y - log Σ exp) least; and how small.

    A step solves (JᵀWJ + λ diag JᵀWJ) step = JᵀW r, with W = weights · min(1, δ/|r|): Marquardt
    1963, and for Huber's loss, which is quadratic up to δ and linear beyond, the weights that
    give its gradient. λ falls after a step that helps; one that does not is taken back. It ends
    when ten steps in a row help nobody.
    """
    theta, damping = starts, torch.full((len(starts), 1), 1e-2, dtype=starts.dtype)
    objective, idle = _huber(features, y, theta, weights, delta), 0
    for _ in range(steps):
        tried = theta + _step(features, y, theta, weights, delta, damping)
        reached = _huber(features, y, tried, weights, delta)
        better = reached < objective  # never where it is NaN
        idle = 0 if (reached < (1 - 1e-12) * objective).any() else idle + 1
        theta = torch.where(better.unsqueeze(1), tried, theta)
        objective = torch.where(better, reached, objective)
        damping = torch.where(better.unsqueeze(1), damping / 3, damping * 4).clamp(1e-12, 1e12)
        if idle == 10:
            break
    return theta, objective


def _step(
    features: Tensor, y: Tensor, theta: Tensor, weights: Tensor, delta: float, damping: Tensor
) -> Tensor:
    predicted, slopes = log_sums(features, theta)
    residuals = y - predicted
    weights = weights * (delta / residuals.abs().clamp(min=1e-300)).clamp(max=1)
    weighted = slopes * weights.unsqueeze(-1)
    curvature = torch.einsum("snp,snq->spq", weighted, slopes)
    slope = torch.einsum("snp,sn->sp", weighted, residuals)
    # A term that has vanished has no curvature: 1e-12 keeps the matrix from being singular.
    diagonal = curvature.diagonal(dim1=-2, dim2=-1)
    damped = curvature + torch.diag_embed(damping * diagonal + 1e-12)
    return torch.linalg.solve_ex(damped, slope).result


def _huber(features: Tensor, y: Tensor, theta: Tensor, weights: Tensor, delta: float) -> Tensor:
    size = (y - log_sums(features, theta)[0]).abs()
    inside = size.clamp(max=delta)
    return (weights * (inside**2 / 2 + inside * (size - inside))).sum(-1)
