"""Sampling in JavaScript against tutor_lib.predict.sampling."""

import pytest
import torch

from tutor_lib.predict.sampling import Sampler

SETTINGS = [
    {},
    {"temperature": 0.7},
    {"temperature": 2.0, "top_k": 5},
    {"top_p": 0.9},
    {"temperature": 1.3, "top_k": 7, "top_p": 0.6},
    {"top_k": 1},
    {"top_k": 100},
    {"top_p": 1e-6},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"temperature": 2.0, "top_k": 13, "top_p": 0.9, "min_p": 0.4},
    {"temperature": 0.0},
    {"temperature": 0.0, "top_k": 3, "top_p": 0.5},
]


def distribution(code, logits, temperature=1.0, top_k=None, top_p=1.0, min_p=0.0):
    settings = {"temperature": temperature, "topK": top_k or 0, "topP": top_p, "minP": min_p}
    return code("distribution", logits.tolist(), settings)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_probabilities(code, settings):
    for seed in range(5):
        logits = 3 * torch.randn(1, 31, generator=torch.Generator().manual_seed(seed))
        found = distribution(code, logits[0], **settings)
        expected = Sampler(**settings).probabilities(logits)[0]
        torch.testing.assert_close(
            torch.tensor(found["probabilities"]).float(), expected, atol=1e-5, rtol=0
        )
        assert [p == 0 for p in found["probabilities"]] == [c != 0 for c in found["cut"]]


@pytest.mark.parametrize(
    "settings",
    [
        {"top_k": 2},
        {"top_p": 0.5},
        {"temperature": 0.0},
        {"top_k": 3, "top_p": 0.25},
        {"min_p": 1.0},
    ],
    ids=str,
)
def test_equal_logits(code, settings):
    """Ties: top-k keeps all that equal the k-th; the nucleus and greedy take the smaller ids."""
    logits = torch.tensor([[1.0, 2.0, 2.0, 2.0, 2.0]])
    found = distribution(code, logits[0], **settings)["probabilities"]
    torch.testing.assert_close(
        torch.tensor(found).float(), Sampler(**settings).probabilities(logits)[0]
    )


def test_what_cut_a_token(code):
    logits = torch.tensor([3.0, 2.0, 1.0, 0.0])
    assert distribution(code, logits, top_k=3, top_p=0.7)["cut"] == [0, 0, 2, 1]
    assert distribution(code, logits, top_k=3, min_p=0.3)["cut"] == [0, 0, 4, 1]
    assert distribution(code, logits, temperature=0)["cut"] == [0, 3, 3, 3]


@pytest.mark.parametrize(
    "bad",
    [{"temperature": -1}, {"topK": -1}, {"topK": 1.5}, {"topP": 0}, {"topP": 1.1}, {"minP": 1.1}],
    ids=str,
)
def test_bad_settings(code, bad):
    with pytest.raises(Exception, match="must"):
        code("distribution", [1.0, 2.0], bad)


def test_draw(code):
    shares = [0.25, 0.0, 0.5, 0.25]
    chances = [0, 0.2499, 0.25, 0.7499, 0.75, 0.9999999]
    assert [code("draw", shares, chance) for chance in chances] == [0, 0, 2, 2, 3, 3]
    assert code("draw", [0.5, 0.5 - 1e-9, 0.0], 1 - 1e-12) == 1


def test_random_numbers_repeat_and_are_uniform(code):
    draws = (
        "(seed) => { const next = code.random(seed); return Array.from({length: 10000}, next); }"
    )
    first, again, other = (code.page.evaluate(draws, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    counts = torch.histc(torch.tensor(first), bins=10, min=0, max=1)
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 27.9  # 99.9 % of uniform samples lie below, with 9 degrees of freedom
