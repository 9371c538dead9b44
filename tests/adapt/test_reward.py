"""The reward model against a forward pass by hand, its loss against the formula."""

import math

import pytest
import torch
from torch import nn

from tutor_lib.adapt.fit import Fit
from tutor_lib.adapt.reward import (
    Preference,
    ScalarModel,
    accuracy,
    last_tokens,
    preference_loss,
    preferences,
    train_reward_model,
)
from tutor_lib.adapt.sft import Example, pack


def with_a_head(decoder) -> ScalarModel:
    model = ScalarModel(decoder)
    nn.init.normal_(model.head.weight)
    nn.init.normal_(model.head.bias)
    return model


def test_the_number_is_the_heads_product_with_the_normalised_vector(decoder):
    body = decoder().double()
    model, ids, seen = with_a_head(body), torch.randint(31, (3, 7)), []
    body.final_norm.register_forward_hook(lambda module, inputs, out: seen.append(out))
    body(ids)
    expected = torch.einsum("btc,c->bt", seen[0], model.head.weight[0]) + model.head.bias
    torch.testing.assert_close(model(ids), expected)


def test_a_score_is_read_at_the_answers_last_token(decoder, examples):
    model = with_a_head(decoder().double())
    _, targets = pack(examples, 19)
    assert last_tokens(targets).tolist() == [len(e.prompt) + len(e.answer) - 1 for e in examples]
    for example, score in zip(examples, model.scores(examples), strict=True):
        alone = model(torch.tensor([example.prompt + example.answer]))[0, -1]
        assert score.item() == pytest.approx(alone.item())


def test_the_loss_and_its_gradient_are_the_formulas(place):
    device, dtype, tolerance = place
    chosen, rejected = (torch.randn(13).to(device, dtype).requires_grad_() for _ in range(2))
    loss = preference_loss(chosen, rejected)
    p = [1 / (1 + math.exp(b - a)) for a, b in zip(chosen.tolist(), rejected.tolist(), strict=True)]
    assert loss.item() == pytest.approx(-sum(map(math.log, p)) / 13, rel=tolerance)
    up, down = torch.autograd.grad(loss, (chosen, rejected))
    expected = up.new_tensor([-(1 - q) / 13 for q in p])
    torch.testing.assert_close(up, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(down, -expected, rtol=tolerance, atol=tolerance)


def test_only_differences_count_and_large_ones_do_not_overflow():
    chosen, rejected = torch.randn(2, 7, dtype=torch.double)
    shifted = preference_loss(chosen + 5, rejected + 5)
    torch.testing.assert_close(preference_loss(chosen, rejected), shifted)
    far = preference_loss(torch.tensor([-1e4]), torch.tensor([1e4]))
    assert far.item() == 2e4


def test_all_pairs_that_differ_in_reward():
    a, b, c, d = (Example((1,), (token,)) for token in range(4))
    pairs = preferences([a, b, c, d], [0.5, 1.0, 0.0, 0.5])
    found = {(p.chosen.answer[0], p.rejected.answer[0]) for p in pairs}
    assert found == {(1, 0), (1, 3), (1, 2), (0, 2), (3, 2)}
    assert len(pairs) == 5
    clear = preferences([a, b, c, d], [0.5, 1.0, 0.0, 0.5], margin=0.5)
    assert [(p.chosen, p.rejected) for p in clear] == [(b, c)]
    assert preferences([a, b], [1.0, 1.0]) == []


def random_pairs(n: int, seed: int) -> list[Preference]:
    """The chosen answer has a token 7 somewhere, the rejected one has not."""
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for _ in range(n):
        words = torch.randint(8, 30, (10,), generator=generator).tolist()
        good, bad = words[2:6], words[6:]
        good[int(torch.randint(4, (), generator=generator))] = 7
        prompt = (words[0], words[1])
        pairs.append(Preference(Example(prompt, tuple(good)), Example(prompt, tuple(bad))))
    return pairs


def test_a_rule_is_learned_from_comparisons(decoder):
    start = decoder()
    before = {name: p.clone() for name, p in start.named_parameters()}
    model, fresh = ScalarModel(start), random_pairs(200, seed=2)
    losses = [
        *train_reward_model(
            model, random_pairs(300, seed=1), Fit(80, 16, 0.01), torch.Generator().manual_seed(1)
        )
    ]
    assert losses[0] == pytest.approx(math.log(2))  # the head begins at 0
    assert sum(losses[-10:]) / 10 < 0.2
    assert accuracy(model, fresh) > 0.95
    wrong_way = [Preference(p.rejected, p.chosen) for p in fresh]
    assert accuracy(model, wrong_way) < 0.05
    for name, p in start.named_parameters():
        assert torch.equal(p, before[name]), "the body is a copy"


def test_bad_input_is_named(decoder):
    a, b = Example((1,), (2,)), Example((3,), (2,))
    with pytest.raises(ValueError, match=r"different prompts: \(1,\), \(3,\)"):
        Preference(a, b)
    with pytest.raises(ValueError, match="1 rewards for 2 answers"):
        preferences([a, a], [1.0])
    with pytest.raises(ValueError, match="no pairs"):
        accuracy(ScalarModel(decoder()), [])
    with pytest.raises(ValueError, match="20 tokens do not fit the context of 19"):
        ScalarModel(decoder())(torch.zeros(1, 20, dtype=torch.long))
    with pytest.raises(ValueError, match="token id 31 is outside"):
        ScalarModel(decoder())(torch.full((1, 3), 31))
