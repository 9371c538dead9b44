"""Scores of heads: on heads made by hand, and against loops over positions."""

import math

import pytest
import torch
from torch import Tensor

from tutor_lib.inside import induction
from tutor_lib.inside.induction import (
    copying_scores,
    in_context_score,
    induction_scores,
    previous_token_scores,
    token_losses,
)
from tutor_lib.inside.lens import logit_parts
from tutor_lib.inside.patch import recovered_grid
from tutor_lib.inside.referent import ReferentPrompt, named_share, referent_scores
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import GEMMA2, GPT2

SIZES = {"vocab_size": 53, "context_length": 23, "n_layers": 2, "d_model": 30, "n_heads": 3,
         "n_kv_heads": 1, "d_ff": 17}  # fmt: skip
CONFIG = DecoderConfig(**SIZES)


def randomised(config: DecoderConfig) -> Decoder:
    model = Decoder(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 * (parameter.ndim < 2), std=0.2)
    return model


def test_scores_of_heads_made_by_hand(monkeypatch):
    """Head 0 looks at the token before, head 1 is an induction head, head 2 looks at itself."""
    n, model = 5, Decoder(CONFIG)
    weights = torch.zeros(1, 2, 3, 2 * n, 2 * n)
    for t in range(2 * n):
        weights[0, :, 0, t, max(t - 1, 0)] = 1
        weights[0, :, 1, t, t - n + 1 if t >= n else t] = 1
        weights[0, :, 2, t, t] = 1
    monkeypatch.setattr(induction, "attention_weights", lambda model, ids: weights)
    words = torch.zeros(2, n, dtype=torch.long)
    assert torch.equal(induction_scores(model, words), torch.tensor([[0.0, 1.0, 0.0]]))
    previous = previous_token_scores(model, torch.cat((words, words), 1))
    assert torch.equal(previous, torch.tensor([[1.0, 0.0, 0.0]]))


@pytest.mark.parametrize("family", [CONFIG.family, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("tied", [True, False])
def test_a_heads_copying_is_its_part_of_the_right_logit_above_the_mean_one(family, tied):
    """The oracle cuts the text after each word and asks for every logit's parts."""
    model = randomised(DecoderConfig(**SIZES, family=family, tied=tied))
    words = torch.randint(53, (2, 5))
    twice, expected = torch.cat((words, words), dim=1), torch.zeros(2, 3).double()
    for t in range(5, 9):
        every = torch.arange(53)
        for b in range(2):
            text = twice[b, : t + 1].expand(53, -1)
            heads = logit_parts(model, text, every).heads  # (L, H, V)
            expected += (heads[..., words[b, t - 4]] - heads.mean(-1)) / 8
    assert torch.allclose(copying_scores(model, words), expected, atol=1e-10)


def test_a_head_that_copies_by_construction():
    """Values are the words, W_O gives them back, and the unembedding knows them again."""
    config = DecoderConfig(
        vocab_size=32, context_length=16, n_layers=1, d_model=32, n_heads=1, n_kv_heads=1, d_ff=3
    )
    model = Decoder(config)
    with torch.no_grad():
        model.embedding.weight.copy_(torch.eye(32))
        for projection in (model.blocks[0].attention.v_proj, model.blocks[0].attention.o_proj):
            projection.weight.copy_(torch.eye(32))
        for part in model.blocks[0].ffn.parameters():
            part.zero_()
    words = torch.randperm(32)[None, :5]
    assert copying_scores(model, words).item() > 0.1
    with torch.no_grad():
        model.blocks[0].attention.o_proj.weight.neg_()
    assert copying_scores(model, words).item() < -0.1


def test_in_context_score_is_a_difference_of_two_losses():
    model, ids = randomised(CONFIG), torch.randint(53, (3, 11))
    losses = token_losses(model, ids)
    assert losses.shape == (3, 10)
    total = 0.0
    for row, text in enumerate(ids.tolist()):
        logits = model(ids)[row].tolist()

        def loss(t: int, logits: list = logits, text: list = text) -> float:
            return math.log(sum(map(math.exp, logits[t - 1]))) - logits[t - 1][text[t]]

        assert losses[row].tolist() == pytest.approx([loss(t) for t in range(1, 11)])
        total += (loss(9) - loss(2)) / 3
    assert in_context_score(model, ids, 2, 9).item() == pytest.approx(total)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, ids: previous_token_scores(m, ids[:, :1]), "at least 2 tokens a row, got 1"),
        (lambda m, ids: induction_scores(m, ids[:, :0]), "at least 2 tokens a row, got 0"),
        (lambda m, ids: copying_scores(m, ids[:, :1]), "at least 2 tokens a row, got 1"),
        (lambda m, ids: in_context_score(m, ids, 0, 3), "early < late < 7, got 0 and 3"),
        (lambda m, ids: in_context_score(m, ids, 3, 3), "early < late < 7, got 3 and 3"),
        (lambda m, ids: in_context_score(m, ids, 3, 7), "early < late < 7, got 3 and 7"),
        (lambda m, ids: copying_scores(Decoder(DecoderConfig(**SIZES, family=GEMMA2)), ids),
         "normalised with others'"),
    ],
)  # fmt: skip
def test_what_cannot_be_scored_is_named(call, message):
    ids: Tensor = torch.randint(53, (2, 7))
    with pytest.raises(ValueError, match=message):
        call(Decoder(CONFIG), ids)


def test_prompts_that_cannot_be_judged_are_named():
    model = randomised(DecoderConfig(53, 19, 2, 12, 2, 1, 7))
    for judge in (named_share, referent_scores):
        with pytest.raises(ValueError, match="there are no prompts"):
            judge(model, [])
    with pytest.raises(ValueError, match=r"other=7 is not in \[3, 5\]"):
        ReferentPrompt(torch.tensor([3, 5]), 5, 7)


def test_a_grid_needs_one_vector_a_position():
    """With as many heads as tokens, heads once passed for positions."""
    model = randomised(DecoderConfig(53, 19, 2, 12, 3, 3, 7))
    with pytest.raises(ValueError, match=r"no one vector a position: its shape is \(1, 3, 3, 4\)"):
        recovered_grid(model, *torch.tensor([[1, 2, 3], [1, 5, 3]]), (7, 9), "attention.z")
