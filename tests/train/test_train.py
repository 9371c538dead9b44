"""Training against PyTorch and loops by hand; the corpus against its word."""

import itertools
import math
import random
import re
import shutil
import subprocess
import sys

import pytest
import torch

from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.tokenize.bpe import END_OF_TEXT
from tutor_lib.train import loop
from tutor_lib.train.corpus import contrasts, corpus, referents
from tutor_lib.train.schedule import warmup_cosine
from tutor_lib.train.trainer import make_optimizer
from tutor_lib.train.words import ANIMALS, FEELINGS, QUALITIES, THINGS

CONFIG = DecoderConfig(
    vocab_size=31, context_length=13, n_layers=1, d_model=22, n_heads=1, n_kv_heads=1, d_ff=17
)


def test_loss_is_the_mean_negative_log_probability_of_the_next_token():
    logits, ids = torch.randn(2, 5, 31, dtype=torch.double), torch.randint(31, (2, 5))
    terms = [
        -logits[b, t].softmax(-1)[ids[b, t + 1]].log().item() for b in range(2) for t in range(4)
    ]
    assert loop.next_token_loss(logits, ids).item() == pytest.approx(sum(terms) / 8)


def test_only_matrices_decay():
    decaying, still = make_optimizer(Decoder(CONFIG), 1e-3, 0.1).param_groups
    assert (decaying["weight_decay"], still["weight_decay"]) == (0.1, 0.0)
    assert {p.ndim for p in decaying["params"]} == {2}
    assert {p.ndim for p in still["params"]} == {1}


def test_one_step_equals_the_same_step_by_hand():
    torch.manual_seed(3)
    ours, theirs = Decoder(CONFIG), Decoder(CONFIG)
    theirs.load_state_dict(ours.state_dict())
    batches = [torch.randint(31, (3, 7)) for _ in range(2)]
    loop.train(ours, iter(batches), steps=2, learning_rate=0.01, clip=0.05)
    optimizer = make_optimizer(theirs, 0.01, 0.1)
    for step, ids in enumerate(batches):
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[1]["lr"] = 0.01 * warmup_cosine(
            step, 2, 0
        )
        loss = torch.nn.functional.cross_entropy(
            theirs(ids)[:, :-1].reshape(-1, 31), ids[:, 1:].reshape(-1)
        )
        gradients = torch.autograd.grad(loss, list(theirs.parameters()))
        norm = math.sqrt(sum(g.square().sum().item() for g in gradients))
        assert norm > 0.05, "the clip must bite"
        for p, g in zip(theirs.parameters(), gradients, strict=True):
            p.grad = g * 0.05 / (norm + 1e-6)
        optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6)


def test_windows_are_pieces_of_the_corpus():
    tokens = torch.arange(29)
    batches = loop.random_windows(tokens, 3, 7, torch.Generator().manual_seed(1))
    starts = set()
    for batch in itertools.islice(batches, 50):
        assert torch.equal(batch - batch[:, :1], torch.arange(7).expand(3, 7))
        starts |= set(batch[:, 0].tolist())
    assert starts == set(range(23))
    with pytest.raises(ValueError, match="window of 30 does not fit a corpus of 29"):
        next(loop.random_windows(tokens, 1, 30, torch.Generator()))


def test_held_out_loss_is_the_mean_over_windows():
    model, tokens = Decoder(CONFIG), torch.randint(31, (7 * 70 + 3,))
    losses = [
        loop.next_token_loss(model(w[None]), w[None]).item() for w in tokens[:490].view(70, 7)
    ]
    assert loop.held_out_loss(model, tokens, 7) == pytest.approx(sum(losses) / 70, rel=1e-5)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="batches ended after 2 of 3 steps"):
        loop.train(Decoder(CONFIG), iter(torch.randint(31, (2, 3, 7))), steps=3)
    with pytest.raises(ValueError, match="documents must be positive, got 0"):
        corpus(1, 0)


def test_the_corpus_repeats_from_its_seed_and_keeps_the_held_out_apart():
    assert corpus(1, 50) == corpus(1, 50)
    assert len({corpus(1, 50), corpus(2, 50), corpus(1, 50, held_out=True)}) == 3
    assert corpus(1, 50).count(END_OF_TEXT) == 50


def test_no_held_out_combination_is_trained_on():
    rng = random.Random(1)
    held_out = {_combination(referents(rng, True).prompt) for _ in range(3000)}
    scenes = re.findall(r"The [^.]*? because it was \w+", corpus(0, 5000))
    trained = {_combination(scene) for scene in scenes}
    assert len(held_out) > 100
    assert len(trained) > 1000
    assert not held_out & trained


def _combination(sentence: str) -> frozenset[str]:
    words = set(re.findall(r"\w+", sentence))
    return frozenset(words & {*ANIMALS, *THINGS, *FEELINGS, *QUALITIES})


@pytest.mark.parametrize(("draw", "connective"), [(referents, "so"), (contrasts, "but")])
def test_the_reason_and_the_connective_decide_the_noun(draw, connective):
    rng = random.Random(2)
    for _ in range(200):
        drawn = draw(rng, held_out=False)
        reason = re.search(r"it was (\w+), (?:so|but) the$", drawn.prompt)[1]
        assert (drawn.referent in ANIMALS) == (reason in FEELINGS)
        assert (drawn.referent in THINGS) == (reason in QUALITIES)
        assert (drawn.other in ANIMALS) == (drawn.referent in THINGS)
        assert f" {drawn.other} " in drawn.prompt
        assert drawn.prompt.endswith(f", {connective} the")
        comes = drawn.referent if connective == "so" else drawn.other
        assert drawn.ending.startswith(f"{comes} ")


COMPILED = """
import torch

from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.train.loop import loss_function

found = []
for compiled in (False, True):
    torch.manual_seed(1)
    model, ids = Decoder(DecoderConfig(31, 13, 1, 22, 1, 1, 17)), torch.randint(31, (3, 11))
    loss = loss_function(model, compiled)(ids)
    loss.backward()
    found.append([loss, *(p.grad for p in model.parameters())])
for plain, fused in zip(*found, strict=True):
    assert torch.allclose(plain, fused, atol=1e-6)
print(len(found[0]), "equal")
"""


@pytest.mark.slow
def test_the_compiled_loss_has_the_same_value_and_gradients():
    """A minute of a C++ compiler's work, in a process where no shape check is compiled too."""
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        pytest.skip("no C++ compiler here")
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.stdout == "12 equal\n", done.stderr[-3000:]
