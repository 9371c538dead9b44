"""Unigram against Hugging Face `tokenizers`, and its sums against every way to cut a word."""

import json
import math
import random
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import digamma
from scipy.stats import chisquare
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tests.tokenize.scripts import HELD_OUT, LEARN
from tutor_lib.tokenize.bpe import END_OF_TEXT
from tutor_lib.tokenize.lattice import Lattice, PieceScores
from tutor_lib.tokenize.unigram import UnigramTokenizer, split_words
from tutor_lib.tokenize.unigram_train import (
    expected_counts,
    learn_pieces,
    maximize,
    prune,
    seed_pieces,
)
from tutor_lib.train.corpus import corpus

LOG_P = {piece: -1.0 - 0.37 * (i * i % 7) for i, piece in enumerate(
    ["a", "b", "ab", "ba", "aba", "bb", "abb", "aa", "bab", "c"])}  # fmt: skip


def stories(seed: int) -> str:
    return corpus(seed, 150).replace(END_OF_TEXT, "\n")


def peer(model: models.Unigram) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    return tokenizer


def trained_peer(text: str, vocab_size: int) -> Tokenizer:
    tokenizer = peer(models.Unigram())
    trainer = trainers.UnigramTrainer(vocab_size=vocab_size, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def vocabulary(tokenizer: Tokenizer) -> list[tuple[str, float]]:
    return [(p, log_p) for p, log_p in json.loads(tokenizer.to_str())["model"]["vocab"]]


@pytest.fixture(scope="module", params=[509, 907])
def pair(request) -> tuple[UnigramTokenizer, Tokenizer]:
    """The peer's own vocabulary and scores on both sides."""
    theirs = trained_peer(LEARN * 3 + stories(13), request.param)
    return UnigramTokenizer(vocabulary(theirs)), theirs


TEXTS = [*HELD_OUT.values(), stories(17), "", " ", "   two  spaces ", "ჟ unknown ჟჟჟ", "▁", "a▁b"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_best_pieces_are_the_peers(pair, text):
    ours, theirs = pair
    assert ours.encode(text) == theirs.encode(text).ids
    assert ours.decode(ours.encode(text)) == theirs.decode(ours.encode(text))


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("thecat satonm. \nкошаη猫ჟ")))
def test_the_best_pieces_of_any_text_are_the_peers(pair, text):
    ours, theirs = pair
    assert ours.encode(text) == theirs.encode(text).ids


@pytest.mark.parametrize(
    ("text", "size"),
    [(stories(19), 211), (stories(19), 409), (LEARN * 3, 283), (LEARN + stories(19), 601)],
)
def test_as_many_pieces_as_the_peer_and_no_worse_a_fit(text, size):
    """The likelihood of the text is what training raises: at most 1 % of it is lost to the peer."""
    ours = UnigramTokenizer.train(text, size)
    theirs = UnigramTokenizer(vocabulary(trained_peer(text, size)))
    assert ours.vocab_size == theirs.vocab_size == size
    assert log_likelihood(ours, text) > 1.01 * log_likelihood(theirs, text)
    assert {c for word in split_words(text) for c in word} <= ours.id_of_piece.keys()
    assert ours.decode(ours.encode(text)) == text


def log_likelihood(tokenizer: UnigramTokenizer, text: str) -> float:
    scores = PieceScores(dict(tokenizer.pieces[1:]))
    words = Counter(split_words(text))
    return sum(n * Lattice(word, scores).forward()[-1] for word, n in words.items())


def every_way(
    word: str, log_p: Mapping[str, float] = MappingProxyType(LOG_P)
) -> list[tuple[float, list[str]]]:
    """By brute force: each of the 2ⁿ⁻¹ ways to cut `word`, where it is one of pieces."""
    unknown, ways = min(log_p.values()) - 10.0, []
    for cuts in range(2 ** (len(word) - 1)):
        places = [0, *(i + 1 for i in range(len(word) - 1) if cuts >> i & 1), len(word)]
        pieces = [word[a:b] for a, b in pairwise(places)]
        if all(len(piece) == 1 or piece in log_p for piece in pieces):
            ways.append((sum(log_p.get(piece, unknown) for piece in pieces), pieces))
    return sorted(ways, key=lambda way: -way[0])


WORDS = st.text("abcd", min_size=1, max_size=11)


@settings(max_examples=100, deadline=None)
@given(word=WORDS, alpha=st.sampled_from([0.0, 0.3, 1.0, 2.7]))
def test_sums_over_all_ways_are_those_of_every_way(word, alpha):
    lattice, ways = Lattice(word, PieceScores(LOG_P)), every_way(word)
    powers = [math.exp(alpha * log_p) for log_p, _ in ways]
    assert lattice.forward(alpha)[-1] == pytest.approx(math.log(sum(powers)), abs=1e-10)
    expected: Counter[str] = Counter()
    total = sum(math.exp(log_p) for log_p, _ in ways)
    for log_p, pieces in ways:
        for piece in pieces:
            expected[piece] += math.exp(log_p) / total
    assert lattice.expected_counts() == pytest.approx(expected, abs=1e-10)


@settings(max_examples=100, deadline=None)
@given(word=WORDS, n=st.integers(1, 13))
def test_the_n_best_are_the_first_of_every_way(word, n):
    lattice, ways = Lattice(word, PieceScores(LOG_P)), every_way(word)
    found = lattice.n_best(n)
    assert [log_p for log_p, _ in found] == pytest.approx([log_p for log_p, _ in ways[:n]])
    assert len({tuple(pieces) for _, pieces in found}) == len(found) == min(n, len(ways))
    for log_p, pieces in found:
        assert (pytest.approx(log_p), pieces) in [way for way in ways if way[1] == pieces]
    best = sum(PieceScores(LOG_P).log_p.get(p, -99.0) for p in lattice.best())
    assert best == pytest.approx(sum(LOG_P.get(p, -99.0) for p in ways[0][1]))


def test_a_word_of_ten_thousand_characters_underflows_nowhere():
    lattice = Lattice("ab" * 5003, PieceScores(LOG_P))
    counts = lattice.expected_counts()
    assert math.isfinite(lattice.forward()[-1])
    assert sum(n * len(piece) for piece, n in counts.items()) == pytest.approx(10_006)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0, 2.0])
def test_samples_follow_the_distribution(alpha):
    """χ² against every way to cut "▁abab", with p^α."""
    log_p, draws, rng = {"▁": -2.0, "▁a": -2.3, **LOG_P}, 4001, random.Random(23)
    tokenizer = UnigramTokenizer([("<unk>", 0.0), *log_p.items()])
    ways = every_way("▁abab", log_p)
    weights = [math.exp(alpha * log_p) for log_p, _ in ways]
    drawn = Counter(tuple(tokenizer.sample("abab", alpha, rng)) for _ in range(draws))
    observed = [drawn[tuple(tokenizer.id_of_piece[p] for p in pieces)] for _, pieces in ways]
    assert sum(observed) == draws, "nothing else was drawn"
    assert chisquare(observed, [draws * w / sum(weights) for w in weights]).pvalue > 1e-3


def test_the_n_best_of_a_text_are_those_of_its_words_together():
    tokenizer = UnigramTokenizer([("<unk>", 0.0), ("▁", -2.0), ("▁a", -2.3), *LOG_P.items()])
    singles = [tokenizer.n_best(word, 10**6) for word in ["aba", "bab"]]
    sums = sorted((a + b for a, _ in singles[0] for b, _ in singles[1]), reverse=True)
    found = tokenizer.n_best("aba bab", 17)
    assert [log_p for log_p, _ in found] == pytest.approx(sums[:17])
    assert found[0][1] == tokenizer.encode("aba bab")
    assert {tokenizer.decode(ids) for _, ids in found} == {"aba bab"}


def test_the_e_step_counts_every_way_of_every_word():
    words = {"abab": 3, "bbd": 2, "aab": 5}
    expected: Counter[str] = Counter()
    for word, n in words.items():
        ways = every_way(word)
        total = sum(math.exp(log_p) for log_p, _ in ways)
        for log_p, pieces in ways:
            for piece in set(pieces) & LOG_P.keys():
                expected[piece] += n * pieces.count(piece) * math.exp(log_p) / total
    assert expected_counts(words, LOG_P) == pytest.approx(
        {piece: expected[piece] for piece in LOG_P}, abs=1e-10
    )


def test_the_m_step_is_the_digamma_functions():
    counts = {"a": 7.25, "b": 0.5, "c": 0.49, "d": 1003.0}
    total = digamma(7.25 + 0.5 + 1003.0)
    assert maximize(counts) == pytest.approx(
        {piece: digamma(counts[piece]) - total for piece in "abd"}, abs=1e-10
    )


def test_seeds_are_the_substrings_that_stand_before_different_things():
    """By a loop over all substrings; one that is always followed by the same letter is left."""
    words = {"▁abcab": 2, "▁abd": 3, "▁cab": 1}
    counts: Counter[str] = Counter()
    for word, n in words.items():
        for i in range(len(word)):
            for j in range(i + 1, len(word) + 1):
                counts[word[i:j]] += n
    letters = {c for word in words for c in word}
    kept = {p: n if len(p) == 1 else n * len(p) for p, n in counts.items()
            if len(p) == 1 or (n > 1 and all(counts[p + c] < n for c in letters))}  # fmt: skip
    total = sum(kept.values())
    assert seed_pieces(words) == pytest.approx({p: math.log(n / total) for p, n in kept.items()})
    fewer = seed_pieces(words, size=2)
    assert len(fewer) == len(letters) + 2
    assert {p for p in fewer if len(p) > 1} <= kept.keys()


def test_pruning_keeps_characters_and_what_is_hardest_to_do_without():
    """The loss by a loop: N log-shares before, and with the occurrences cut again, after."""
    words = {"abab": 5, "babb": 3, "abb": 7, "aab": 2, "c": 1}
    scores = PieceScores(LOG_P)
    used = Counter(p for word, n in words.items() for p in Lattice(word, scores).best() * n)
    losses = {}
    for piece in (p for p in used if len(p) > 1):
        others = [w for w in every_way(piece) if w[1] != [piece]]
        parts, n = others[0][1], used[piece]
        before = n * math.log(used[piece] / sum(used.values()))
        after = Counter(used) + Counter({part: n for part in parts})
        moved = sum(used.values()) - n + n * len(parts)
        losses[piece] = before - n * sum(math.log(after[part] / moved) for part in parts)
    assert len(losses) >= 3
    for size in range(3, 3 + len(losses) + 1):
        kept = prune(words, LOG_P, size)
        best = sorted(losses, key=losses.__getitem__, reverse=True)[: size - 3]
        assert kept == {piece: LOG_P[piece] for piece in ["a", "b", "c", *best]}


def test_characters_lost_to_rarity_come_back_as_the_rarest():
    learned = learn_pieces({"▁" + "ab" * 50: 50, "▁x": 1, "▁y": 1}, 9)
    assert {"▁", "a", "b", "x", "y"} <= learned.keys()
    assert len(learned) <= 9
    assert list(learned.values()) == sorted(learned.values(), reverse=True)


def test_training_on_nothing_knows_nothing():
    tokenizer = UnigramTokenizer.train("", 31)
    assert tokenizer.pieces == [("<unk>", 0.0)]
    assert tokenizer.encode("ab") == [0]
    assert tokenizer.encode("") == []


def test_bad_input_is_named():
    tokenizer = UnigramTokenizer([("<unk>", 0.0), ("a", -1.0)])
    with pytest.raises(ValueError, match="2 pieces cannot hold the 3 characters"):
        UnigramTokenizer.train("ab", 3)
    for alpha in [-0.1, math.nan, math.inf]:
        with pytest.raises(ValueError, match=f"finite and not negative, got {alpha}"):
            tokenizer.sample("a", alpha, random.Random(0))
    with pytest.raises(ValueError, match="n must be positive, got 0"):
        tokenizer.n_best("a", 0)
    with pytest.raises(ValueError, match=r"got \('b', -inf\)"):
        UnigramTokenizer([("<unk>", 0.0), ("b", -math.inf)])
    with pytest.raises(ValueError, match=r"got \('', -1.0\)"):
        UnigramTokenizer([("<unk>", 0.0), ("", -1.0)])
    with pytest.raises(ValueError, match="has 'a' twice"):
        UnigramTokenizer([("<unk>", 0.0), ("a", -1.0), ("a", -2.0)])
    with pytest.raises(ValueError, match="1 pieces has no <unk>"):
        UnigramTokenizer([("a", -1.0)])
    for bad in [-1, 2]:
        with pytest.raises(ValueError, match=rf"token id {bad} is outside 0…1"):
            tokenizer.decode([bad])
