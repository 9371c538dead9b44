"""Sampling against `transformers`' logits processors, and draws against χ²."""

import math

import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from tutor_lib.predict.sampling import (
    Sampler,
    greedy,
    min_p,
    repetition_penalty,
    top_k,
    top_p,
    typical_p,
)

B, V, S = 5, 31, 13


@pytest.fixture
def logits() -> torch.Tensor:
    return torch.randn(B, V, generator=torch.Generator().manual_seed(2)) * 3


@pytest.fixture
def ids() -> torch.Tensor:
    """Another text for each row; in all of them some token comes twice."""
    return torch.randint(V // 2, (B, S), generator=torch.Generator().manual_seed(5))


@pytest.fixture
def rough(logits, place) -> torch.Tensor:
    """Logits with ties, zeros and tokens that are impossible already."""
    rough = logits.round()
    rough[1, ::3] = -torch.inf
    rough[2] = 0.0
    rough[3, 1:] = -torch.inf
    return rough.to(place.device, torch.promote_types(place.dtype, torch.float32))


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
        (lambda x: typical_p(x, 0.83), TypicalLogitsWarper(0.83)),
        (lambda x: typical_p(x, 0.2), TypicalLogitsWarper(0.2)),
        (lambda x: typical_p(x, 1e-6), TypicalLogitsWarper(1e-6)),
        (lambda x: typical_p(x, 0.999), TypicalLogitsWarper(0.999)),
    ],
)
def test_filters_cut_what_transformers_cuts(logits, ours, theirs):
    assert torch.equal(ours(logits), theirs(None, logits.clone()))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: top_k(x, 7), TopKLogitsWarper(7)),
        (lambda x: min_p(x, 0.11), MinPLogitsWarper(0.11)),
        (lambda x: typical_p(x, 0.83), TypicalLogitsWarper(0.83)),
        (lambda x: typical_p(x, 0.2), TypicalLogitsWarper(0.2)),
        (lambda x: typical_p(x, 0.999), TypicalLogitsWarper(0.999)),
    ],
)
def test_filters_cut_what_transformers_cuts_with_ties_and_impossible_tokens(rough, ours, theirs):
    assert torch.equal(ours(rough), theirs(None, rough.clone()))


def test_typical_may_cut_the_most_probable_token():
    logits = torch.tensor([[0.45, 0.25, 0.25, 0.05]]).log()
    assert typical_p(logits, 0.5).isfinite().tolist() == [[False, True, True, False]]


@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.7, 17.0])
def test_the_repetition_penalty_equals_transformers(rough, ids, penalty):
    ids = ids.to(rough.device)
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, rough.clone())
    assert torch.equal(repetition_penalty(rough, ids, penalty), expected)
    assert penalty == 1 or not torch.equal(expected, rough)
    assert torch.equal(repetition_penalty(rough, ids[:, :0], penalty), rough)


def test_the_defaults_cut_nothing_of_a_large_vocabulary():
    """The sum of 50,257 rounded probabilities passes 1 early; top_p = 1 cut what came after."""
    logits = 2 * torch.randn(B, 50_257, generator=torch.Generator().manual_seed(0))
    assert torch.equal(Sampler().probabilities(logits), logits.softmax(-1))


def test_half_precision_is_summed_in_float32():
    """In bfloat16 a running sum near 1 moves in steps of 1/256: small tokens add nothing."""
    logits = torch.zeros(1, 2003, dtype=torch.bfloat16)
    kept = Sampler(top_p=0.9).probabilities(logits)
    assert kept.dtype == torch.float32
    assert (kept > 0).sum() == math.ceil(0.9 * 2003)


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


def test_the_order_of_the_chain_is_that_of_transformers_generate(pair, random_ids):
    """Their scores after every step, from their raw logits, with every setting in use."""
    _, theirs = pair(3, std=0.5)
    prompt = random_ids(2, 3, 5)
    settings = {"temperature": 0.9, "top_k": 11, "top_p": 0.9, "min_p": 0.2, "typical_p": 0.9,
                "repetition_penalty": 1.4}  # fmt: skip
    torch.manual_seed(4)
    made = theirs.generate(
        prompt, do_sample=True, max_new_tokens=29, attention_mask=torch.ones_like(prompt),
        return_dict_in_generate=True, output_logits=True, output_scores=True, **settings,
    )  # fmt: skip
    steps = [(raw, made.sequences[:, : 5 + i]) for i, raw in enumerate(made.logits)]

    def probabilities(settings) -> torch.Tensor:
        return torch.stack([Sampler(**settings).probabilities(*step) for step in steps])

    ours = probabilities(settings)
    assert torch.allclose(ours, torch.stack(made.scores).softmax(-1), atol=1e-6)
    for name in settings:
        rest = {other: value for other, value in settings.items() if other != name}
        assert not torch.allclose(ours, probabilities(rest), atol=1e-3), f"{name} did nothing"


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
        ({"typical_p": 0.0}, r"typical_p must lie in \(0, 1\], got 0.0"),
        ({"typical_p": 1.5}, "1.5"),
        ({"typical_p": math.nan}, "nan"),
        ({"repetition_penalty": 0.0}, "repetition_penalty must be finite and positive, got 0.0"),
        ({"repetition_penalty": -2.0}, "got -2.0"),
        ({"repetition_penalty": math.inf}, "got inf"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Sampler(**settings)


def test_a_penalty_without_the_text_is_named(logits, ids):
    with pytest.raises(ValueError, match=r"repetition_penalty=1\.5 needs the ids so far"):
        Sampler(repetition_penalty=1.5)(logits)
    with pytest.raises(ValueError, match=r"token id 31 is outside 0…30"):
        repetition_penalty(logits, ids.clamp(max=4) + 27, 1.5)
