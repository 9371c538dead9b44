"""Sampling against `transformers`' logits processors, and draws against χ²."""

import math

import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tutor_lib.predict.sampling import Sampler, greedy, min_p, top_k, top_p

B, V = 5, 31


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(B, V, generator=torch.Generator().manual_seed(2)) * 3


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: top_k(x, 7), TopKLogitsWarper(7)),
        (lambda x: top_k(x, 1), TopKLogitsWarper(1)),
        (lambda x: top_k(x, 1000), TopKLogitsWarper(1000)),
        (lambda x: top_p(x, 0.83), TopPLogitsWarper(0.83)),
        (lambda x: top_p(x, 1e-6), TopPLogitsWarper(1e-6)),
        (lambda x: top_p(x, 1.0), TopPLogitsWarper(1.0)),
        (lambda x: min_p(x, 0.11), MinPLogitsWarper(0.11)),
        (lambda x: min_p(x, 0.0), MinPLogitsWarper(0.0)),
    ],
)
def test_filters_cut_what_transformers_cuts(logits, ours, theirs):
    assert torch.equal(ours(logits), theirs(None, logits.clone()))


def test_the_chain_equals_transformers(logits):
    sampler = Sampler(temperature=0.7, top_k=11, top_p=0.9, min_p=0.02)
    chain = [
        TemperatureLogitsWarper(0.7),
        TopKLogitsWarper(11),
        TopPLogitsWarper(0.9),
        MinPLogitsWarper(0.02),
    ]
    expected = logits
    for warper in chain:
        expected = warper(None, expected.clone())
    assert torch.allclose(sampler.probabilities(logits), expected.softmax(-1), atol=1e-7)


def test_draws_follow_the_distribution(logits):
    sampler, row = Sampler(temperature=1.3, top_k=7), logits[:1]
    expected = sampler.probabilities(row)[0].double()
    draws = sampler(row.expand(20_011, V), torch.Generator().manual_seed(3))
    counts = torch.bincount(draws, minlength=V)
    kept = expected > 0
    assert kept.sum() == 7
    assert counts[~kept].sum() == 0
    frequencies = expected[kept] / expected[kept].sum() * counts.sum()
    assert chisquare(counts[kept].numpy(), frequencies.numpy()).pvalue > 0.001


def test_temperature_0_is_greedy_and_the_limit_of_small_temperatures(logits):
    assert torch.equal(Sampler(temperature=0.0)(logits), logits.argmax(-1))
    assert torch.equal(Sampler(temperature=1e-4)(logits), greedy(logits))
    assert torch.equal(Sampler(temperature=0.0).probabilities(logits).argmax(-1), logits.argmax(-1))
    assert Sampler(temperature=0.0).probabilities(logits).sum() == B


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -0.1}, "temperature must be finite and ≥ 0, got -0.1"),
        ({"temperature": math.nan}, "nan"),
        ({"temperature": math.inf}, "inf"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, r"top_p must lie in \(0, 1\], got 0.0"),
        ({"top_p": 1.01}, "1.01"),
        ({"min_p": -0.5}, r"min_p must lie in \[0, 1\], got -0.5"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**settings)
