"""WordPiece and Unigram in JavaScript against tutor_lib's, piece for piece; and BPE's training."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_lib.demos.subwords import DOCUMENTS, stories, unigram, wordpiece
from tutor_lib.demos.weights import storyteller
from tutor_lib.tokenize.bert import bert_normalize, bert_pretokenize
from tutor_lib.tokenize.bpe import END_OF_TEXT, BytePairTokenizer
from tutor_lib.train.corpus import corpus

TEXTS = [
    "",
    " ",
    "The cat sat on the mat because it was tired.",
    "unbelievably  tired RABBITS, naïve cafés and ŁÓDŹ",
    "a cat 🐈 and 👩‍👩‍👧 and ❤️",
    "猫と犬 \t x\ny ΟΔΟΣ İstanbul $5 + <b>",
    "▁odd ▁▁ marks ##ly",
    "x" * 101,
    "\x00\x1c�\x7f\u0085\u2003a",
]
CHARACTERS = st.characters(exclude_categories=["Cs", "Cn"])
ANY_TEXT = st.text(CHARACTERS) | st.text("aehtcrbis Té🐈▁#.") | st.text("the cat. rabbit")


@pytest.fixture(scope="session")
def cut(code):
    """`cut("WordPiece", text)`: the ids and the decoded text by a tokenizer of the page."""
    code.page.evaluate(
        """([pieces, scored]) => { globalThis.subwords = {
             WordPiece: new code.WordPieceTokenizer(pieces),
             Unigram: new code.UnigramTokenizer(scored) }; }""",
        [wordpiece().pieces, unigram().pieces],
    )

    def run(name, text):
        return code.page.evaluate(
            """([name, text]) => {
                 const ids = subwords[name].cut(text).flatMap((word) => word.ids);
                 return [ids, subwords[name].decode(ids)]; }""",
            [name, text],
        )

    return run


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["WordPiece", "Unigram"])
def test_same_ids(cut, name, text):
    ours = {"WordPiece": wordpiece(), "Unigram": unigram()}[name]
    ids = ours.encode(text)
    assert cut(name, text) == [ids, ours.decode(ids)]


@settings(deadline=None, max_examples=100)
@given(text=ANY_TEXT)
def test_same_ids_on_any_text(cut, text):
    for name, ours in (("WordPiece", wordpiece()), ("Unigram", unigram())):
        assert cut(name, text)[0] == ours.encode(text)


@settings(deadline=None, max_examples=100)
@given(text=ANY_TEXT)
def test_words_of_bert(code, text):
    normal = code("bertNormalize", text)
    assert normal == bert_normalize(text)
    assert code("bertPretokenize", normal) == bert_pretokenize(normal)


@pytest.mark.parametrize("word", ["▁rabbits", "▁the", "▁xyz", "▁unbelievably", "▁"])
def test_most_probable_ways(cut, code, word):
    """The n best ways and their log p, with the unknown characters' price."""
    cut("Unigram", "")
    found = code.page.evaluate("(word) => plain(subwords.Unigram.nBest(word, 5))", word)
    expected = unigram().n_best(word.replace("▁", " "), 5)
    logs = torch.tensor([way["logP"] for way in found], dtype=torch.float64)
    torch.testing.assert_close(
        logs, torch.tensor([log_p for log_p, _ in expected], dtype=torch.float64)
    )
    assert all("".join(way["pieces"]) == word for way in found)


def test_the_longest_pieces(cut, code):
    """Each take says what was left of the word and how many longer candidates failed."""
    cut("WordPiece", "")
    takes = code.page.evaluate("plain(subwords.WordPiece.takes('catλ'))")
    known = {*wordpiece().pieces}
    assert [take["rest"] for take in takes] == ["catλ", "λ"]
    assert wordpiece().pieces[takes[0]["id"]] == "cat"
    assert takes[0]["tried"] == 1
    assert takes[1].get("id") is None
    assert takes[1]["tried"] == 1
    assert "##λ" not in known
    assert wordpiece().encode_word("catλ") == [wordpiece().id_of_piece["[UNK]"]]


def test_both_learn_from_the_storytellers_text_and_are_as_large():
    size = storyteller()[1].vocab_size
    assert (wordpiece().vocab_size, unigram().vocab_size) == (size, size)
    assert stories() == corpus(0, DOCUMENTS).replace(END_OF_TEXT, " ")


WORDS = st.lists(st.sampled_from(["the", "cat", "cats", "that", "at", "é", "🐈"]), max_size=40)


@settings(deadline=None, max_examples=60)
@given(words=WORDS)
def test_learned_merges(code, words):
    """Merge for merge what tutor_lib learns, and as many."""
    text = " ".join(words)
    found = code.page.evaluate(
        """(text) => { const trainer = new code.MergeTrainer(text);
             while (trainer.next) trainer.merge();
             return [trainer.merges, trainer.tokens, plain(trainer.pieces)]; }""",
        text,
    )
    ours = BytePairTokenizer.train(text, vocab_size=400)
    assert [tuple(pair) for pair in found[0]] == ours.merges
    assert found[1] == len(ours.encode(text))
    assert [bytes(piece) for piece in found[2]] == ours.pieces


def test_learned_merges_of_a_story(code):
    """A special token ends what comes before it and is not learned from."""
    text = corpus(3, 7)
    found = code.page.evaluate(
        """(text) => { const trainer = new code.MergeTrainer(text);
             while (trainer.merges.length < 61) trainer.merge();
             return trainer.merges; }""",
        text,
    )
    ours = BytePairTokenizer.train(text, vocab_size=256 + 61 + 1)
    assert [tuple(pair) for pair in found] == ours.merges


def test_ranked_pairs(code):
    """By count, and of equals by the ids; a pair that overlaps itself counts each place."""
    words = [{"ids": [5, 5, 5, 3], "count": 2}, {"ids": [2, 7], "count": 4}]
    assert code("rankedPairs", words) == [
        {"pair": [2, 7], "count": 4},
        {"pair": [5, 5], "count": 4},
        {"pair": [5, 3], "count": 2},
    ]


def test_candidates_hide_the_order(code):
    pairs = [([9, 1], 5), ([2, 3], 4), ([2, 8], 4), ([1, 1], 2)]
    ranked = [{"pair": pair, "count": count} for pair, count in pairs]
    assert code("mergeCandidates", ranked, 3) == [[2, 3], [2, 8], [9, 1]]
    assert code("judgeBet", ranked, [9, 1]) == "won"
    assert code("judgeBet", ranked, [1, 1]) == "lost"
    assert code("judgeBet", ranked[1:], [2, 8]) == "tie"
