"""The tokenizer against Hugging Face `tokenizers`, trained on the same text."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tutor_lib.tokenize.bpe import END_OF_TEXT, BytePairTokenizer
from tutor_lib.tokenize.pretokenize import pretokenize
from tutor_lib.train.corpus import corpus

AWKWARD = [
    "",
    " ",
    "The cat sat on the mat.",
    "   leading and trailing   ",
    "runs  of   spaces\n\n\tand\r\nlines",
    "naïve café, Übergröße, 12½ ¾ x²",
    "日本語 と русский и العربية",
    "👩‍👩‍👧 says 🎉🎉 don't we'll I'VE",
    "a_b-c/d\\e 3.14159 1,000,000",
    "aaaaaaaaaaa aaaa aaa",
    "\u200b\u00a0\u2003\ufeff",
]


def peer(text: str, vocab_size: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


@pytest.fixture(scope="module", params=["stories", "awkward"])
def pair(request) -> tuple[BytePairTokenizer, Tokenizer]:
    text = {"stories": corpus(3, 200), "awkward": " ".join(AWKWARD) * 3}[request.param]
    text = text.replace(END_OF_TEXT, "\n")
    return BytePairTokenizer.train(text, 401), peer(text, 400)


def test_merges_and_ids_are_those_of_the_peer(pair):
    ours, theirs = pair
    model = json.loads(theirs.to_str())["model"]
    symbols = model["vocab"]
    assert ours.merges == [(symbols[left], symbols[right]) for left, right in model["merges"]]
    assert len(ours.merges) > 50


@pytest.mark.parametrize("text", AWKWARD)
def test_encodes_like_the_peer(pair, text):
    ours, theirs = pair
    assert ours.encode(text) == theirs.encode(text).ids
    assert ours.decode(ours.encode(text)) == text


@settings(max_examples=150, deadline=None)
@given(text=st.text(max_size=61))
def test_any_text_encodes_like_the_peer_and_comes_back(text):
    # `tokenizers` knows no special token here, ours does.
    text = text.replace(END_OF_TEXT, "")
    ours, theirs = _awkward_pair()
    assert ours.encode(text) == theirs.encode(text).ids
    assert ours.decode(ours.encode(text)) == text


def _awkward_pair(made=[]):  # noqa: B006 (made once for all examples)
    if not made:
        text = " ".join(AWKWARD) * 3
        made.append((BytePairTokenizer.train(text, 401), peer(text, 400)))
    return made[0]


def test_pretokens_joined_are_the_text():
    for text in AWKWARD:
        assert "".join(pretokenize(text)) == text


def test_merge_steps_begin_with_bytes_and_end_with_the_encoding(pair):
    ours, _ = pair
    for word in pretokenize("The cat wasn't naïve 🎉"):
        steps = list(ours.merge_steps(word))
        assert b"".join(ours.token_bytes(i) for i in steps[0]) == word.encode()
        assert len(steps[0]) == len(word.encode())
        assert steps[-1] == ours.encode(word)
        assert all(len(after) < len(before) for before, after in pairwise(steps))


def test_end_of_text_is_one_id(pair):
    ours, _ = pair
    last = ours.end_of_text_id
    assert ours.encode(f"{END_OF_TEXT}a{END_OF_TEXT}") == [last, *ours.encode("a"), last]
    assert ours.decode([last]) == END_OF_TEXT
    assert last == ours.vocab_size - 1


def test_the_saved_file_is_read_by_us_and_by_the_peer(pair, tmp_path):
    ours, _ = pair
    ours.save(tmp_path / "tokenizer.json")
    again, theirs = (
        BytePairTokenizer.load(tmp_path / "tokenizer.json"),
        Tokenizer.from_file(str(tmp_path / "tokenizer.json")),
    )
    assert again.merges == ours.merges
    for text in [*AWKWARD, f"one{END_OF_TEXT}two"]:
        assert again.encode(text) == ours.encode(text) == theirs.encode(text).ids


def test_training_on_nothing_makes_no_merges():
    tokenizer = BytePairTokenizer.train("", 300)
    assert tokenizer.merges == []
    assert tokenizer.decode(tokenizer.encode("é")) == "é"


def test_bad_input_is_named(tmp_path):
    tokenizer = BytePairTokenizer.train("ab ab ab", 258)
    with pytest.raises(ValueError, match="vocab_size must be at least 257, got 256"):
        BytePairTokenizer.train("ab", 256)
    with pytest.raises(ValueError, match=r"token id 999 is outside 0…257"):
        tokenizer.decode([999])
    with pytest.raises(ValueError, match="-1"):
        tokenizer.decode([-1])
    with pytest.raises(ValueError, match=r"merge \(300, 1\)"):
        BytePairTokenizer([(300, 1)])
    for text in ["{", "[]", '{"model": {"vocab": {"a": 0}, "merges": []}}']:
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(ValueError, match=r"bad\.json"):
            BytePairTokenizer.load(tmp_path / "bad.json")
