"""WordPiece and BERT's words against Hugging Face `tokenizers`."""

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from tests.tokenize.scripts import HELD_OUT, LEARN
from tutor_lib.tokenize.bert import bert_normalize, bert_pretokenize
from tutor_lib.tokenize.bpe import END_OF_TEXT
from tutor_lib.tokenize.wordpiece import BERT_SPECIAL_TOKENS, WordPieceTokenizer
from tutor_lib.train.corpus import corpus

TEXTS = [*HELD_OUT.values(), "", " ", "\t\n\r\x0b\x85", "[CLS] ##ing #", "İSTANBUL ΣΑΣ ﬁn Ǆ",
         "don't-stop", "日本a語", "e\u0301a\u0300", "\ufffd\x00x\x7f", "\u2028a\u2029"]  # fmt: skip


def settled() -> list[str]:
    """Characters that mean the same in Unicode 3.2 as today: no library's tables differ there."""
    old = unicodedata.ucd_3_2_0
    every = map(chr, range(sys.maxunicode + 1))
    return [c for c in every if old.category(c) == unicodedata.category(c) not in ("Cn", "Cs")]


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_character_is_normalised_and_cut_like_the_peers(lowercase):
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    cut = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    different, characters = [], settled()
    assert len(characters) > 200_000, "most are ideographs and private"
    for character in characters:
        text = f"a{character}B"
        normalised = bert_normalize(text, lowercase)
        if normalised != normalizer.normalize_str(text):
            different.append(character)
        if bert_pretokenize(text) != [word for word, _ in cut(text)]:
            different.append(character)
    assert different == []


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("aÉñçΣσ日本 \t\n'-.!$\u0301\u0327\u200dคำا한ガ\x07")))
def test_any_text_is_normalised_and_cut_like_the_peers(text):
    normalised = normalizers.BertNormalizer().normalize_str(text)
    words = [w for w, _ in pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalised)]
    assert bert_normalize(text) == normalised
    assert bert_pretokenize(normalised) == words


def peer(model: models.WordPiece, lowercase: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return tokenizer


def trained_peer(text: str, vocab_size: int, lowercase: bool, first: list[str]) -> Tokenizer:
    """`first` fixes the ids of characters, which the trainer else takes from a hash table.

    Of equally frequent pairs the one with the smaller ids is merged, so that without this the
    peer's own vocabulary differs from run to run.
    """
    tokenizer = peer(models.WordPiece(unk_token="[UNK]"), lowercase)
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size, min_frequency=2, special_tokens=first, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def stories() -> str:
    return corpus(11, 300).replace(END_OF_TEXT, "\n")


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize(("text", "size"), [(stories(), 709), (LEARN * 2, 601)])
def test_the_vocabulary_learned_is_the_peers(text, size, lowercase):
    ours = WordPieceTokenizer.train(text, size, lowercase=lowercase)
    n_characters = next(i for i, p in enumerate(ours.pieces) if len(p.removeprefix("##")) == 2)
    theirs = trained_peer(text, size, lowercase, ours.pieces[:n_characters]).get_vocab()
    assert ours.id_of_piece == theirs
    assert ours.vocab_size == size > n_characters + 97
    assert tuple(ours.pieces[:5]) == BERT_SPECIAL_TOKENS
    freely = trained_peer(text, size, lowercase, [*BERT_SPECIAL_TOKENS]).get_vocab()
    assert set(ours.pieces[:n_characters]) <= freely.keys(), "the same characters"


@pytest.fixture(scope="module")
def ours() -> WordPieceTokenizer:
    return WordPieceTokenizer.train(LEARN + stories(), 701)


@pytest.mark.parametrize("text", TEXTS)
def test_encodes_and_decodes_like_the_peer(ours, text):
    theirs = peer(models.WordPiece(ours.id_of_piece, unk_token="[UNK]"))
    ids = theirs.encode(text).ids
    assert ours.encode(text) == ids
    assert ours.decode(ids) == theirs.decode(ids, skip_special_tokens=False)


@settings(max_examples=200, deadline=None)
@given(word=st.text("abcd", min_size=1, max_size=13), longest=st.integers(1, 13))
def test_the_longest_piece_comes_first(word, longest):
    """Greedy: "abc|##d" where "ab|##cd" is there too; and "[UNK]" where greed leads nowhere."""
    pieces = ["[UNK]", "a", "b", "ab", "abc", "##c", "##cd", "##d", "##ab", "c", "##a", "dc"]
    ours = WordPieceTokenizer(pieces, max_word_length=longest)
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    model = models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=longest)
    assert ours.encode_word(word) == peer(model).encode(word).ids


@pytest.mark.parametrize(("length", "known"), [(100, True), (101, False)])
def test_a_word_too_long_is_unknown(length, known):
    tokenizer = WordPieceTokenizer(["[UNK]", "a", "##a"])
    assert tokenizer.encode("a" * length) == ([1] + [2] * (length - 1) if known else [0])


def test_the_saved_vocabulary_is_read_by_us_and_by_the_peer(ours, tmp_path):
    ours.save(tmp_path / "vocab.txt")
    again = WordPieceTokenizer.load(tmp_path / "vocab.txt")
    assert again.pieces == ours.pieces
    assert models.WordPiece.read_file(str(tmp_path / "vocab.txt")) == ours.id_of_piece


def test_training_on_nothing_leaves_the_special_tokens():
    ours = WordPieceTokenizer.train("", 31)
    assert ours.pieces == [*BERT_SPECIAL_TOKENS]
    assert ours.encode("a") == [1]
    assert ours.decode([]) == ""


def test_bad_input_is_named(ours):
    with pytest.raises(ValueError, match=r"vocab_size must be at least 8, got 7"):
        WordPieceTokenizer.train("ab", 7)
    with pytest.raises(ValueError, match="min_frequency must be positive, got 0"):
        WordPieceTokenizer.train("ab", 99, min_frequency=0)
    with pytest.raises(ValueError, match="max_word_length must be positive, got 0"):
        WordPieceTokenizer(["[UNK]"], max_word_length=0)
    with pytest.raises(ValueError, match="has 'a' twice"):
        WordPieceTokenizer(["[UNK]", "a", "b", "a"])
    with pytest.raises(ValueError, match=r"2 pieces has no \[UNK\]"):
        WordPieceTokenizer(["a", "b"])
    for bad in [-1, 701]:
        with pytest.raises(ValueError, match=rf"token id {bad} is outside 0…700"):
            ours.decode([bad])
