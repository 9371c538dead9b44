"""Beam search against `transformers`' `generate`, and against trying every sequence."""

import itertools

import pytest
import torch

from tutor_lib.predict.beam import beam_search
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler

T, NEW = 5, 11


def theirs_best(theirs, prompt, num_beams, length_penalty, stop_token, **settings):
    """Their sequences, each cut after its stop token, and their scores."""
    made = theirs.generate(
        prompt, do_sample=False, num_beams=num_beams, num_return_sequences=num_beams,
        max_new_tokens=NEW, length_penalty=length_penalty, eos_token_id=stop_token,
        attention_mask=torch.ones_like(prompt), return_dict_in_generate=True, output_scores=True,
        **settings,
    )  # fmt: skip
    rows = [row[T:].tolist() for row in made.sequences]
    cut = [row[: row.index(stop_token) + 1] if stop_token in row else row for row in rows]
    return cut, made.sequences_scores.tolist()


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("length_penalty", [1.0, 0.4, 0.0, -1.5])
@pytest.mark.parametrize("num_beams", [2, 3, 7])
@pytest.mark.parametrize(("vocab_size", "stop_token"), [(53, None), (5, 3)])
def test_sequences_and_scores_equal_transformers(
    pair, random_ids, seed, length_penalty, num_beams, vocab_size, stop_token
):
    ours, theirs = pair(seed, std=0.15, vocab_size=vocab_size)
    prompt = random_ids(seed, 1, T) % vocab_size
    found = beam_search(ours, prompt, NEW, num_beams, length_penalty, stop_token)
    expected, scores = theirs_best(
        theirs, prompt, num_beams, length_penalty, stop_token, early_stopping="never"
    )
    assert [h.tokens.tolist() for h in found] == expected
    assert [h.score for h in found] == pytest.approx(scores, rel=1e-5)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("length_penalty", [1.0, 0.4, 0.0])
def test_the_stop_token_of_the_comparison_ends_some_soon_and_some_late(
    decoder, random_ids, length_penalty
):
    lengths = set()
    for seed in range(1, 6):
        model, prompt = decoder(seed, std=0.15, vocab_size=5), random_ids(seed, 1, T) % 5
        lengths |= {len(h.tokens) for h in beam_search(model, prompt, NEW, 7, length_penalty, 3)}
    assert NEW in lengths
    assert len(lengths) > 3


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("length_penalty", [1.0, 0.0, -1.0])
@pytest.mark.parametrize("stop_token", [None, 2])
def test_a_wide_beam_finds_the_best_of_all_sequences(decoder, length_penalty, stop_token):
    """5 tokens, 4 steps: a beam of 5³ keeps every beginning, so it must find the very best."""
    model = decoder(7, std=0.25, vocab_size=5)
    prompt = torch.tensor([[3, 0, 1]], device=model.embedding.weight.device)
    expected = every_sequence(model, prompt, 4, length_penalty, stop_token)
    found = beam_search(model, prompt, 4, 125, length_penalty, stop_token)
    assert len(found) == min(125, len(expected))
    for hypothesis, (score, tokens) in zip(found[:29], expected, strict=False):
        assert hypothesis.tokens.tolist() == tokens
        assert hypothesis.score == pytest.approx(score, rel=1e-5)


@torch.no_grad()
def every_sequence(model, prompt, steps, length_penalty, stop_token):
    """Score all of them without cache or search, best first."""
    rows = list(itertools.product(range(5), repeat=steps))
    new = torch.tensor(rows, device=prompt.device)
    logits = model(torch.cat((prompt.expand(len(rows), -1), new), dim=1))
    log_p = logits.log_softmax(-1)[:, prompt.size(1) - 1 : -1].gather(-1, new[:, :, None])[..., 0]
    found = {}
    for row, values in zip(rows, log_p.tolist(), strict=True):
        end = row.index(stop_token) + 1 if stop_token in row else steps
        found[row[:end]] = sum(values[:end]) / end**length_penalty
    return [(score, list(t)) for t, score in sorted(found.items(), key=lambda item: -item[1])]


@pytest.mark.parametrize(("length_penalty", "best"), [(0.0, [0]), (1.0, [2] * NEW)])
def test_the_search_goes_on_while_a_long_text_could_still_win(lookup, length_penalty, best):
    """Ending at once is likely, -0.29; going on, -1.39, is forced from there: -0.13 a token."""
    model = lookup(torch.tensor([[0.0, 0.0, 0.0], [0.75, 0.0, 0.25], [0.0, 0.0, 1.0]]).log())
    (found,) = beam_search(model, torch.tensor([[1]]), NEW, 1, length_penalty, stop_token=0)
    assert found.tokens.tolist() == best
    assert model.passes == (NEW if length_penalty else 1)


def test_one_beam_is_greedy(decoder, random_ids):
    model, prompt = decoder(3), random_ids(3, 1, T)
    greedy = torch.stack(list(generate(model, prompt, NEW, Sampler(temperature=0.0))), dim=1)
    (found,) = beam_search(model, prompt, NEW, 1)
    assert torch.equal(found.tokens, greedy[0])


def test_more_beams_than_sequences_gives_them_all(decoder):
    model = decoder(5, vocab_size=3)
    found = beam_search(model, torch.tensor([[1]]).to(model.embedding.weight.device), 2, 23)
    assert {tuple(h.tokens.tolist()) for h in found} == set(itertools.product(range(3), repeat=2))
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


def test_bad_input_is_named(decoder, random_ids, unchecked_shapes):
    model, prompt = decoder(1), random_ids(1, 1, T)
    with pytest.raises(ValueError, match="num_beams must be at least 1, got 0"):
        beam_search(model, prompt, NEW, 0)
    with pytest.raises(ValueError, match="beam search takes one prompt, got 2"):
        beam_search(model, prompt.expand(2, T), NEW, 3)
    with pytest.raises(ValueError, match="the prompt is empty"):
        beam_search(model, prompt[:, :0], NEW, 3)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        beam_search(model, prompt, 0, 3)
    with pytest.raises(ValueError, match=r"stop_token 53 is outside 0…52"):
        beam_search(model, prompt, NEW, 3, stop_token=53)
    with pytest.raises(ValueError, match="length_penalty must be finite, got nan"):
        beam_search(model, prompt, NEW, 3, length_penalty=float("nan"))
