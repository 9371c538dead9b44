"""The toy language by hand, the weights against PyTorch's, and what the stored run claims."""

import random

import pytest
import torch
from torch import nn

from tutor_lib.experiments import translation_task as task
from tutor_lib.experiments.record import load_record
from tutor_lib.experiments.translation import (
    CUT_DOWN,
    batch_of,
    cross_weights,
    keep,
    load_translator,
    measured,
    new_translator,
    run,
    trained,
    translate,
)
from tutor_lib.train.loss import IGNORED

DRAWN = task.pairs(random.Random(3), 500, held_out=False)


@pytest.mark.parametrize(
    ("english", "order"),
    [
        ("in the garden Mia gave Tom a red ball .", "garden in Mia ball red Tom gave ."),
        ("the blue cat found a key .", "cat blue key found ."),
        ("Tom sat on the red mat .", "Tom mat red on sat ."),
    ],
)
def test_the_toy_language_by_hand(english, order):
    """The translator itself writes what the rule says, though it was shown examples only."""
    expected = [task.DICTIONARY[word] for word in order.split()]
    assert translate(load_translator(), english.split()) == expected
    source = english.split()
    assert [source[i] for i in task.meant(source, expected)] == order.split()


def test_every_word_has_its_own_translation():
    assert len({*task.DICTIONARY.values()}) == len(task.DICTIONARY)
    english = {*task.TRANSLATED, *task.NAMES, *task.ARTICLES}
    made_up = {task.DICTIONARY[word] for word in task.TRANSLATED}
    assert not english & made_up
    assert len(task.IDS) == len(task.WORDS) == len(english | made_up | {task.START, task.STOP})


def test_drawn_pairs_are_translations_word_by_word():
    for pair in DRAWN:
        assert len(pair.source) <= task.LONGEST
        assert len(pair.target) + 1 <= task.LONGEST
        assert [task.DICTIONARY[pair.source[i]] for i in pair.aligned] == [*pair.target]
        left = [w for i, w in enumerate(pair.source) if i not in pair.aligned]
        assert {*left} <= {*task.ARTICLES}
        assert len({*pair.aligned}) == len(pair.aligned)
        assert pair.source[pair.aligned[-2]] in task.VERBS
        # A reader that knows the dictionary alone finds the same.
        assert task.meant(pair.source, pair.target) == [*pair.aligned]


def test_what_is_not_in_the_source_is_meant_by_nothing():
    mia, ball = "Mia", task.DICTIONARY["ball"]
    assert task.meant(["Mia", "."], [ball, mia, mia]) == [None, 0, None]


def test_training_never_sees_what_is_held_out():
    held = task.pairs(random.Random(3), 100, held_out=True)
    assert all(task.is_held_out(pair.source) for pair in held)
    assert not {p.source for p in held} & {p.source for p in DRAWN}


def test_unknown_words_and_too_many_are_told():
    with pytest.raises(ValueError, match="does not know owls"):
        task.encode(["two", "owls"][1:])
    with pytest.raises(ValueError, match="1 to 16 words, not 17"):
        task.encode(["cat"] * 17)
    with pytest.raises(ValueError, match="not 0"):
        task.encode([])


class PyTorchs(nn.Module):
    """`torch.nn`'s two layers with our translator's weights; it keeps its cross-attention's."""

    def __init__(self, ours) -> None:
        super().__init__()
        c = ours.config
        sizes = (c.d_model, c.n_heads, c.d_ff)
        self.ours = ours
        self.encoder = nn.TransformerEncoderLayer(*sizes, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoderLayer(*sizes, dropout=0.0, batch_first=True)
        block = ours.encoder[0]
        fill(self.encoder.self_attn, block.attention)
        self._rest(self.encoder, block, (block.add_attention, block.add_ffn))
        block = ours.decoder[0]
        fill(self.decoder.self_attn, block.attention)
        fill(self.decoder.multihead_attn, block.cross)
        self._rest(self.decoder, block, (block.add_attention, block.add_cross, block.add_ffn))

    def _rest(self, layer, block, norms) -> None:
        for number, add in enumerate(norms, 1):
            getattr(layer, f"norm{number}").load_state_dict(add.norm.state_dict())
        linears = [m for m in block.ffn.modules() if isinstance(m, nn.Linear)]
        for theirs, mine in zip((layer.linear1, layer.linear2), linears, strict=True):
            theirs.load_state_dict(mine.state_dict())

    def weights(self, source, mask, read):
        kept, module = [], self.decoder.multihead_attn
        plain = module.forward

        def forward(*values, **named):
            out, weights = plain(*values, **named | {"need_weights": True,
                                                     "average_attn_weights": False})  # fmt: skip
            kept.append(weights)
            return out, weights

        module.forward = forward
        memory = self.encoder(self.ours.embed(source), src_key_padding_mask=~mask)
        ahead = torch.ones(2 * read.shape[1:], dtype=torch.bool).triu(1)
        self.decoder(self.ours.embed(read), memory, ahead, memory_key_padding_mask=~mask)
        return kept[0]


def fill(theirs, ours) -> None:
    """PyTorch's attention with our weights, without a bias."""
    projections = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.data = torch.cat([p.weight.data for p in projections])
    theirs.in_proj_bias.data.zero_()
    theirs.out_proj.weight.data = ours.o_proj.weight.data
    theirs.out_proj.bias.data.zero_()


@pytest.mark.parametrize("model", [load_translator(), new_translator(2)], ids=["stored", "random"])
def test_cross_weights_are_pytorchs(model):
    torch.manual_seed(1)
    source, mask, target, _ = batch_of(DRAWN[:13])
    read = torch.where(target == IGNORED, 0, target)
    with torch.no_grad():
        expected = PyTorchs(model.eval()).train().weights(source, mask, read)
    found = cross_weights(model, source, read, mask)
    assert found.shape == (1, 13, 2, target.size(1), source.size(1))
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:-1]))


def test_the_stored_translator_is_the_one_measured():
    record = load_record("translation")
    some = task.pairs(random.Random(1), record["plan"]["held_out"], held_out=True)
    found = measured(load_translator(), some)
    stored = record["results"]["2"]
    assert found["sentences_right"] == pytest.approx(stored["sentences_right"], abs=0.002)
    assert found["aligned"] == pytest.approx(stored["aligned"], abs=0.002)
    assert found["parameters"] == stored["parameters"] <= 100_000


def test_what_the_stored_run_claims():
    """Nearly all is translated right, and heads look at what is meant far above chance."""
    for found in load_record("translation")["results"].values():
        assert found["sentences_right"] > 0.98
        assert found["aligned_by_any"] > 0.7 > 3 * found["chance"]
        assert found["aligned_by_any"] >= max(found["aligned"])


def test_the_share_that_is_aligned_is_counted_by_hand():
    model, some = load_translator(), DRAWN[:29]
    hits, words = [0, 0], 0
    for pair in some:
        read = torch.tensor([[0, *task.encode(pair.target)[:-1]]])
        weights = cross_weights(model, task.encode(pair.source)[None], read)[0, 0]
        for t, place in enumerate(pair.aligned):
            words += 1
            for head in range(2):
                hits[head] += int(weights[head, t].argmax()) == place
    expected = [n / words for n in hits]
    assert measured(model, some)["aligned"] == pytest.approx(expected)


def test_a_run_in_small(tmp_path):
    results = run(CUT_DOWN, seed=3)
    assert {*results} == {"1", "2"}
    keep(CUT_DOWN, 3, tmp_path / "small.safetensors")
    loaded = load_translator(tmp_path / "small.safetensors")
    for mine, theirs in zip(loaded.parameters(), trained(CUT_DOWN, 2, 3).parameters(), strict=True):
        assert torch.equal(mine, theirs)
