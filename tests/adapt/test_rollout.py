"""Sampling, log-probabilities and divergences against loops and torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Categorical, kl_divergence

from tutor_lib.adapt.rollout import (
    Task,
    exact_kl,
    frozen_copy,
    k1,
    k2,
    k3,
    masked_mean,
    rewards_of,
    roll_out,
    sample,
    token_log_probs,
)
from tutor_lib.adapt.sft import pack

END = 30


def gen(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_token_log_probs_equal_categorical(place, examples):
    device, dtype, tolerance = place
    ids, targets = pack(examples, 19, torch.device(device))
    logits = (3 * torch.randn(*ids.shape, 31)).to(device, dtype).requires_grad_()
    ours = token_log_probs(logits, targets)
    scores = Categorical(logits=logits.double()).log_prob(targets.clamp(min=0))
    theirs = torch.where(targets == -100, 0.0, scores)
    largest = theirs.abs().max().item()
    torch.testing.assert_close(ours.double(), theirs, rtol=tolerance, atol=tolerance * largest)
    slope = torch.randn_like(theirs)
    a, b = (
        torch.autograd.grad((x * slope).sum(), logits, retain_graph=True)[0] for x in (ours, theirs)
    )
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * b.abs().max().item())


def test_log_probs_of_what_was_drawn_are_those_of_the_models_own_steps(decoder):
    """Left-padded prompts go in, rows packed on the left come out: nothing may shift."""
    policy, reference = decoder(1).double(), decoder(2).double()
    prompts = [(3, 1, 4, 1, 5), (9,), (2, 6, 5)]
    task = Task(prompts, lambda answers: [float(len(e.answer)) for e in answers], 11, END)
    made = roll_out(policy, reference, task, prompts, gen())
    assert made.rewards.tolist() == [len(e.answer) for e in made.examples]
    sums = [0.0, 0.0]
    for row, example in enumerate(made.examples):
        assert example.prompt == prompts[row]
        whole = torch.tensor([example.prompt + example.answer])
        for i, token in enumerate(example.answer):
            stop = len(example.prompt) + i
            for n, (model, log_p) in enumerate(
                [(policy, made.log_p), (reference, made.reference_log_p)]
            ):
                expected = Categorical(logits=model(whole[:, :stop])[0, -1]).log_prob(
                    torch.tensor(token)
                )
                assert log_p[row, stop - 1].item() == pytest.approx(expected.item(), abs=1e-9)
                sums[n] += expected.item()
    assert made.log_p.sum().item() == pytest.approx(sums[0])
    assert made.mask.sum() == sum(len(e.answer) for e in made.examples)
    assert made.kl == pytest.approx((sums[0] - sums[1]) / 3)


def test_answers_end_with_the_first_end_or_are_cut(decoder):
    made = sample(decoder(3), [(3, 1), (4,)] * 40, 13, END, gen())
    ended = [e for e in made if e.answer[-1] == END]
    assert 0 < len(ended) < 80
    assert all(END not in e.answer[:-1] for e in made)
    assert all(len(e.answer) == 13 for e in made if e not in ended)


def test_answers_are_drawn_from_the_model(decoder):
    """The first token's frequencies, in rows with and without padding."""
    model = decoder(4)
    made = sample(model, [(3, 1, 4), (9,)] * 4000, 1, END, gen())
    for start, prompt in enumerate([(3, 1, 4), (9,)]):
        p = model(torch.tensor([prompt]))[0, -1].softmax(-1)
        drawn = torch.tensor([e.answer[0] for e in made[start::2]]).bincount(minlength=31) / 4000
        assert (drawn - p).abs().max() < 4 * math.sqrt(0.25 / 4000)
        assert (drawn - p).abs().sum() < 0.15


def test_the_same_seed_draws_the_same_answers(decoder):
    model, prompts = decoder(), [(3, 1), (4,), (1, 5, 9)]
    first, again, other = (sample(model, prompts, 9, END, gen(s)) for s in (1, 1, 2))
    assert first == again != other
    task = Task(prompts, lambda answers: [0.0] * len(answers), 9, END)
    assert task.draw(50, gen()) == task.draw(50, gen())
    assert set(task.draw(50, gen())) == set(prompts)


def test_exact_kl_is_pytorchs(place):
    device, dtype, tolerance = place
    p, q = ((2 * torch.randn(3, 5, 31)).to(device, dtype) for _ in range(2))
    theirs = kl_divergence(Categorical(logits=p.double()), Categorical(logits=q.double()))
    torch.testing.assert_close(exact_kl(p, q).double(), theirs, rtol=tolerance, atol=tolerance)
    assert exact_kl(p, p).abs().max() == 0


def test_what_is_never_drawn_counts_nothing():
    p = torch.tensor([0.0, 1.0, -math.inf])
    q = torch.tensor([0.0, 1.0, 2.0])
    half = p[:2].softmax(0)
    log_q = q.log_softmax(0)
    expected = sum(half[i] * (half[i].log() - log_q[i]) for i in range(2))
    assert exact_kl(p, q).item() == pytest.approx(expected.item(), rel=1e-5)
    assert exact_kl(torch.tensor([0.0, -math.inf]), torch.tensor([0.0, -math.inf])) == 0


def test_the_estimators_are_schulmans():
    p, q = 2 * torch.randn(2, 97, dtype=torch.double)
    for x, y, a, b, c in zip(p, q, k1(p, q), k2(p, q), k3(p, q), strict=True):
        ratio = math.exp(y - x)
        assert a.item() == pytest.approx(-math.log(ratio))
        assert b.item() == pytest.approx(math.log(ratio) ** 2 / 2)
        assert c.item() == pytest.approx(ratio - 1 - math.log(ratio))
        assert b >= 0
        assert c >= 0
    assert k3(torch.tensor(-1.0), torch.tensor(-1.0 + 1e-6)) >= 0  # no cancellation near 0


@pytest.mark.parametrize(("estimator", "exact"), [(k1, True), (k3, True), (k2, False)])
def test_which_estimators_are_unbiased(estimator, exact):
    """Expectations over all tokens, no sampling: Σ p k(log p, log q) is the KL, or is not."""
    log_p = torch.randn(31, dtype=torch.double).log_softmax(-1)
    log_q = (log_p + 0.2 * torch.randn_like(log_p)).log_softmax(-1)
    kl = kl_divergence(Categorical(logits=log_p), Categorical(logits=log_q))
    mean = (log_p.exp() * estimator(log_p, log_q)).sum()
    assert (abs(mean - kl) < 1e-12) == exact
    assert abs(mean - kl) < 0.2 * kl  # not far off even where biased, near the start


def test_a_frozen_copy_stays_as_it_was(decoder):
    model = decoder()
    copy = frozen_copy(model)
    before = copy.embedding.weight.clone()
    model.embedding.weight.data += 1.0
    assert torch.equal(copy.embedding.weight, before)
    assert not any(p.requires_grad for p in copy.parameters())
    assert all(p.requires_grad for p in model.parameters())


def test_masked_mean_leaves_out_what_is_masked_even_nan():
    x = torch.tensor([[1.0, math.nan], [4.0, 7.0]], requires_grad=True)
    mask = torch.tensor([[True, False], [True, True]])
    mean = masked_mean(x, mask)
    assert mean.item() == 4.0
    mean.backward()
    torch.testing.assert_close(x.grad, torch.tensor([[1 / 3, 0.0], [1 / 3, 1 / 3]]))


def test_rewards_may_be_numbers_or_a_tensor(examples):
    assert rewards_of(lambda e: [1, 2.5, 0, -1], examples).tolist() == [1, 2.5, 0, -1]
    assert rewards_of(lambda e: torch.arange(4), examples).tolist() == [0, 1, 2, 3]


def test_bad_input_is_named(decoder, examples):
    with pytest.raises(ValueError, match=r"rewards of shape \(3,\) for 4 answers"):
        rewards_of(lambda e: [1.0, 2.0, 3.0], examples)
    with pytest.raises(ValueError, match=r"rewards of shape \(4, 1\) for 4"):
        rewards_of(lambda e: torch.zeros(4, 1), examples)
    with pytest.raises(ValueError, match="reward of answer 2 is nan"):
        rewards_of(lambda e: [1.0, 2.0, math.nan, math.inf], examples)
    with pytest.raises(ValueError, match="reward of answer 0 is -inf"):
        rewards_of(lambda e: [-math.inf] * 4, examples)
    with pytest.raises(ValueError, match="no prompts"):
        Task([], lambda e: [], 5, END)
    with pytest.raises(ValueError, match=r"shape \(2, 3\) leaves nothing"):
        masked_mean(torch.zeros(2, 3), torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="20 tokens do not fit the context of 19"):
        sample(decoder(), [(1,)], 20, END, gen())
    with pytest.raises(ValueError, match="at least one token"):
        sample(decoder(), [(1,), ()], 5, END, gen())
