"""Speculative decoding against the target alone: the same tokens, the same distribution."""

import itertools
from collections import Counter

import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from tutor_lib.model.decoder import Decoder
from tutor_lib.model.fast import FastDecoder
from tutor_lib.predict import speculative
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler
from tutor_lib.predict.speculative import (
    acceptance_rate,
    expected_speedup,
    residual,
    speculate,
)
from tutor_lib.train.storyteller import load_storyteller

GREEDY = Sampler(temperature=0.0)


def first_layers(model: Decoder, count: int) -> Decoder:
    """A draft that is cut from its target: its embedding and its first blocks."""
    from dataclasses import replace

    draft = Decoder(replace(model.config, n_layers=count)).to(model.embedding.weight)
    names = draft.state_dict().keys()
    draft.load_state_dict({k: v for k, v in model.state_dict().items() if k in names})
    return draft.eval()


def plain(model, prompt, new, sampler) -> list[int]:
    return [int(token) for token in generate(model, prompt, new, sampler)]


def tokens_of(rounds) -> list[int]:
    return torch.cat([r.tokens for r in rounds], dim=1)[0].tolist()


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(("gamma", "penalty"), [(1, 1.0), (2, 1.3), (3, 1.0), (11, 1.3)])
@pytest.mark.parametrize("which", ["another", "the same", "its first layers"])
def test_greedy_tokens_equal_plain_decoding(decoder, random_ids, gamma, which, penalty):
    target = decoder(1)
    draft = {"another": decoder(2, n_layers=1), "the same": target,
             "its first layers": first_layers(target, 2)}[which]  # fmt: skip
    sampler, rates = Sampler(temperature=0.0, repetition_penalty=penalty), []
    for seed, (length, new) in enumerate([(1, 41), (2, 1), (3, 2), (5, 3), (7, 17), (29, 13)]):
        prompt = random_ids(seed, 1, length)
        rounds = list(speculate(target, draft, prompt, new, gamma, sampler))
        assert tokens_of(rounds) == plain(target, prompt, new, sampler)
        rates += [r.accepted / r.drafted for r in rounds if r.drafted]
    assert set(rates) == {1.0} if which == "the same" else min(rates) < 1


def test_the_packed_decoder_serves_as_target_and_draft(decoder, random_ids):
    target, draft = FastDecoder(decoder(1)), FastDecoder(decoder(2, n_layers=1))
    prompt = random_ids(1, 1, 5)
    rounds = speculate(target, draft, prompt, 31, 3, GREEDY)
    assert tokens_of(rounds) == plain(target, prompt, 31, GREEDY)


VOCAB, NEW = 3, 4
SAMPLERS = {
    "plain": (Sampler(), []),
    "chained": (
        Sampler(temperature=1.3, top_p=0.95, repetition_penalty=1.4),
        [
            RepetitionPenaltyLogitsProcessor(1.4),
            TemperatureLogitsWarper(1.3),
            TopPLogitsWarper(0.95),
        ],
    ),
}


@torch.no_grad()
def exact(target, prompt, processors) -> dict[tuple[int, ...], float]:
    """The probability of every continuation, each token computed anew by the target alone."""
    found = {}
    for new in itertools.product(range(VOCAB), repeat=NEW):
        text, probability = prompt, 1.0
        for token in new:
            logits = target(text)[:, -1]
            for processor in processors:
                logits = processor(text, logits)
            probability *= logits.softmax(-1)[0, token].item()
            text = torch.cat((text, text.new_tensor([[token]])), dim=1)
        found[new] = probability
    return found


def p_value(target, draft, sampler, processors, draws=701, device="cpu") -> float:
    """Of a χ² test of the tokens that speculation makes against the exact distribution."""
    prompt = torch.tensor([[1, 0]], device=device)
    generator = torch.Generator(device).manual_seed(3)
    expected = exact(target, prompt, processors)
    counts = Counter(
        tuple(tokens_of(speculate(target, draft, prompt, NEW, 2, sampler, generator)))
        for _ in range(draws)
    )
    assert all(expected[new] > 0 for new in counts)
    often = [new for new, p in expected.items() if p * draws > 5]  # the others go together
    observed = torch.tensor([counts[new] for new in often], dtype=torch.float64)
    frequencies = torch.tensor([expected[new] * draws for new in often], dtype=torch.float64)
    observed = torch.cat((observed, draws - observed.sum()[None]))
    frequencies = torch.cat((frequencies, draws - frequencies.sum()[None]))
    return chisquare(observed, frequencies).pvalue


@pytest.fixture
def tables(lookup):
    """A target, and a draft that often differs."""
    logits = torch.randn(2, VOCAB, VOCAB, generator=torch.Generator().manual_seed(1))
    return lookup(logits[0]), lookup(logits[1])


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", SAMPLERS)
def test_four_tokens_follow_the_targets_distribution(tables, name):
    assert p_value(*tables, *SAMPLERS[name]) > 0.01


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLERS)
def test_four_tokens_of_a_decoder_follow_its_distribution(decoder, device, name):
    sizes = {"vocab_size": VOCAB, "n_layers": 1}
    target, draft = decoder(5, std=0.25, **sizes), decoder(6, std=0.25, **sizes)
    assert p_value(target, draft, *SAMPLERS[name], draws=3001, device=device) > 0.01


def accept_all(p, q, token, generator):
    return True


def accept_by_p(p, q, token, generator):
    return bool(torch.rand(1, generator=generator) < p[0, token])


def accept_by_q_over_p(p, q, token, generator):
    return bool(torch.rand(1, generator=generator) * p[0, token] < q[0, token])


def residual_is_p(p, q):
    return p


def residual_is_of_q(p, q):
    return residual(q, p)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("accept", accept_all),
        ("accept", accept_by_p),
        ("accept", accept_by_q_over_p),
        ("residual", residual_is_p),
        ("residual", residual_is_of_q),
    ],
)
def test_the_chi_square_test_sees_a_wrong_rule(tables, monkeypatch, name, wrong):
    monkeypatch.setattr(speculative, name, wrong)
    assert p_value(*tables, *SAMPLERS["plain"]) < 1e-4


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("gamma", [1, 3, 5])
@pytest.mark.parametrize("cost", [0.0, 0.13, 0.5])
@pytest.mark.parametrize("likeness", [0.3, 1.0, 3.0])
def test_the_speed_in_passes_is_what_the_formula_says(lookup, gamma, cost, likeness):
    """Counted, not timed: a pass of the target costs 1, one of the draft c.

    The formula takes acceptance for independent from token to token, so the tables hardly
    depend on the last token; how well the draft knows the target sets α.
    """
    generator = torch.Generator().manual_seed(7)
    shared, own, noise = (torch.randn(n, 31, generator=generator) for n in (1, 1, 31))
    target, draft = lookup(2 * shared + 0.2 * noise), lookup(2 * shared + own / likeness)
    draft.logits = draft.logits.expand(31, 31)
    new, prompt = 1009, torch.tensor([[3]])
    rounds = list(speculate(target, draft, prompt, new, gamma, generator=generator))
    took = target.passes + cost * draft.passes
    alpha = acceptance_rate(rounds)
    assert 0.4 < alpha < 0.95
    assert new / took == pytest.approx(expected_speedup(alpha, gamma, cost), rel=0.03)


@pytest.mark.usefixtures("unchecked_shapes")
def test_the_storytellers_speed_in_passes_is_what_the_formula_says():
    """A trained model's acceptance is not independent; the formula is near enough."""
    target, tokenizer = load_storyteller()
    draft, counts = first_layers(target, 2), Counter()
    for name, model in (("target", target), ("draft", draft)):
        model.register_forward_hook(lambda *_, name=name: counts.update([name]))
    rounds, new, generator = [], 97, torch.Generator().manual_seed(2)
    for start in ("Once upon a time", "One day Mia found a", "The cat sat on the mat because"):
        prompt = torch.tensor([tokenizer.encode(start)])
        rounds += speculate(target, draft, prompt, new, 3, generator=generator)
    cost = 2 / 3
    took = counts["target"] + cost * counts["draft"]
    alpha = acceptance_rate(rounds)
    assert 3 * new / took == pytest.approx(expected_speedup(alpha, 3, cost), rel=0.15)


def test_the_statistics_of_a_round(lookup):
    target = lookup(torch.tensor([[0.0, 9e9], [9e9, 0.0]]))  # 0 1 0 1 …
    draft = lookup(torch.tensor([[0.0, 9e9], [0.0, 9e9]]))  # knows only what follows 0
    rounds = list(speculate(target, draft, torch.tensor([[1]]), 9, 3, GREEDY))
    assert tokens_of(rounds) == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert [(r.drafted, r.judged, r.accepted) for r in rounds] == [
        (0, 0, 0), (3, 2, 1), (3, 2, 1), (3, 2, 1), (1, 1, 1),
    ]  # fmt: skip
    assert acceptance_rate(rounds) == pytest.approx(4 / 7)


def test_the_residual_is_what_p_has_more_than_q():
    p, q = torch.tensor([[0.5, 0.3, 0.2]]), torch.tensor([[0.25, 0.7, 0.05]])
    assert residual(p, q) == pytest.approx(torch.tensor([[0.625, 0.0, 0.375]]))
    assert torch.equal(residual(p, p), p)


@pytest.mark.parametrize("gamma", [1, 2, 5])
@pytest.mark.parametrize("alpha", [0.0, 0.37, 0.999])
def test_the_expected_speedup_is_the_formula(alpha, gamma):
    formula = (1 - alpha ** (gamma + 1)) / ((1 - alpha) * (gamma * 0.13 + 1))
    assert expected_speedup(alpha, gamma, 0.13) == pytest.approx(formula)
    assert expected_speedup(1.0, gamma, 0.13) == pytest.approx((gamma + 1) / (gamma * 0.13 + 1))


def test_bad_input_is_named(decoder, random_ids, unchecked_shapes):
    target, prompt = decoder(1), random_ids(1, 1, 3)
    with pytest.raises(ValueError, match="gamma must be at least 1, got 0"):
        speculate(target, target, prompt, 5, 0)
    with pytest.raises(ValueError, match="takes one sequence, got 2"):
        speculate(target, target, prompt.expand(2, 3), 5)
    with pytest.raises(ValueError, match="the prompt is empty"):
        speculate(target, target, prompt[:, :0], 5)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        speculate(target, target, prompt, 0)
    with pytest.raises(ValueError, match="41 tokens do not fit the context of 7"):
        speculate(target, decoder(2, context_length=7), prompt, 39)
    for vocab_size in (47, 59):
        draft = decoder(2, vocab_size=vocab_size)
        with pytest.raises(ValueError, match=f"target and draft differ: 53 and {vocab_size}"):
            list(speculate(target, draft, torch.zeros_like(prompt), 5))
    with pytest.raises(ValueError, match="no drafted token was judged"):
        acceptance_rate(speculate(target, target, prompt, 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-0.1, 3, 0.1), r"alpha must lie in \[0, 1\], got -0.1"),
        ((1.1, 3, 0.1), "got 1.1"),
        ((0.5, 0, 0.1), "gamma must be at least 1, got 0"),
        ((0.5, 3, -0.5), "cost must be finite and ≥ 0, got -0.5"),
        ((0.5, 3, float("inf")), "got inf"),
    ],
)
def test_a_speedup_of_impossible_values_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        expected_speedup(*arguments)
