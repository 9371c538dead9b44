"""The generation loop against `transformers`' `generate` with the same weights."""

import pytest
import torch

from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler

GREEDY = Sampler(temperature=0.0)


def tokens(*args, **kwargs) -> torch.Tensor:
    return torch.stack(list(generate(*args, **kwargs)), dim=1)


@pytest.mark.parametrize("penalty", [1.0, 1.3, 0.8])
def test_greedy_tokens_equal_transformers_with_a_repetition_penalty(pair, random_ids, penalty):
    ours, theirs = pair(11)
    prompt = random_ids(3, 5, 7)
    sampler = Sampler(temperature=0.0, repetition_penalty=penalty)
    expected = theirs.generate(
        prompt, do_sample=False, max_new_tokens=31, repetition_penalty=penalty,
        attention_mask=torch.ones_like(prompt),
    )  # fmt: skip
    assert torch.equal(tokens(ours, prompt, 31, sampler), expected[:, 7:])


def test_rows_end_at_the_stop_token_as_in_transformers(pair, random_ids):
    """Rows stop at different steps; the loop stops with the last of them."""
    ours, theirs = pair(13)
    prompt = random_ids(4, 5, 3)
    free = tokens(ours, prompt, 37, GREEDY)
    stop = free[0, 2].item()
    expected = theirs.generate(
        prompt, do_sample=False, max_new_tokens=37, eos_token_id=stop, pad_token_id=stop,
        attention_mask=torch.ones_like(prompt),
    )[:, 3:]  # fmt: skip
    made = tokens(ours, prompt, 37, GREEDY, stop_token=stop)
    assert torch.equal(made, expected)
    first = [(row == stop).nonzero()[0, 0].item() if stop in row else 37 for row in free]
    assert len(set(first)) > 2
    one = tokens(ours, prompt[:1], 37, GREEDY, stop_token=stop)
    assert one.tolist() == [free[0, : first[0] + 1].tolist()]


def test_bad_input_is_named(decoder, random_ids):
    model, prompt = decoder(1), random_ids(1, 1, 3)
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate(model, prompt[:, :0], 5)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        generate(model, prompt, 0)
    with pytest.raises(ValueError, match="stop_token must not be negative, got -1"):
        generate(model, prompt, 5, stop_token=-1)
    with pytest.raises(ValueError, match="42 tokens do not fit the context of 41"):
        generate(model, prompt, 40)
