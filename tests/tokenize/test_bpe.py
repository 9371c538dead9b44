"""The tokenizer against Hugging Face `tokenizers`, trained on the same text."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from tutor_lib.tokenize.bpe import END_OF_TEXT, BytePairTokenizer
from tutor_lib.tokenize.bpe_fast import Memo
from tutor_lib.tokenize.pretokenize import pretokenize
from tutor_lib.train.corpus import corpus
from tutor_lib.train.storyteller import ASSETS, train_tokenizer

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


def peer(text: str, vocab_size: int, min_frequency: int = 2) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        initial_alphabet=alphabet,
        min_frequency=min_frequency,
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


def peer_merges(tokenizer: Tokenizer) -> list[tuple[int, int]]:
    model = json.loads(tokenizer.to_str())["model"]
    return [(model["vocab"][left], model["vocab"][right]) for left, right in model["merges"]]


TRAINERS = {"plain": BytePairTokenizer.train, "fast": BytePairTokenizer.train_fast}


@pytest.fixture(scope="module", params=["stories plain", "awkward plain", "awkward fast"])
def pair(request) -> tuple[BytePairTokenizer, Tokenizer]:
    source, trainer = request.param.split()
    text = {"stories": corpus(3, 200), "awkward": " ".join(AWKWARD) * 3}[source]
    text = text.replace(END_OF_TEXT, "\n")
    return TRAINERS[trainer](text, 401), peer(text, 400)


def test_merges_and_ids_are_those_of_the_peer(pair):
    ours, theirs = pair
    assert ours.merges == peer_merges(theirs)
    assert len(ours.merges) > 50


# Few letters and many equal counts: every tie and every run of one letter is met.
SMALL_WORLDS = st.lists(st.text("ab ", min_size=1, max_size=17), min_size=1, max_size=7)


@settings(max_examples=100, deadline=None)
@given(parts=SMALL_WORLDS, min_frequency=st.integers(1, 3))
def test_fast_training_is_the_plain_one_and_the_peers(parts, min_frequency):
    text = " ".join(parts)
    fast = BytePairTokenizer.train_fast(text, 257 + 23, min_frequency).merges
    assert fast == BytePairTokenizer.train(text, 257 + 23, min_frequency).merges
    assert fast == peer_merges(peer(text, 256 + 23, min_frequency))


def test_fast_training_is_the_peers_on_stories():
    text = corpus(5, 2000).replace(END_OF_TEXT, "\n")
    fast = BytePairTokenizer.train_fast(text, 1501)
    assert fast.merges == peer_merges(peer(text, 1500))
    assert len(fast.merges) > 1000


@st.composite
def merge_lists(draw) -> list[tuple[int, int]]:
    """Merges that nobody trained, of "a" and "b" (ids 64 and 65): some can never be reached."""
    pieces = {64: "a", 65: "b"}
    merges = []
    for left, right in draw(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)))):
        pair = tuple([*pieces][i % len(pieces)] for i in (left, right))
        if (piece := pieces[pair[0]] + pieces[pair[1]]) not in pieces.values():
            pieces[256 + len(merges)] = piece
            merges.append(pair)
    return merges


@settings(max_examples=300, deadline=None)
@given(merges=merge_lists(), word=st.text("ab", min_size=1, max_size=61))
def test_fast_encoding_is_the_last_of_the_plain_steps(merges, word):
    tokenizer = BytePairTokenizer(merges)
    assert tokenizer.encode_pretoken(word) == [*tokenizer.merge_steps(word)][-1]


def test_a_pretoken_of_any_length_is_encoded_soon():
    """The plain rounds look at every pair in every round: for this one, hours."""
    tokenizer = BytePairTokenizer.train_fast("abracadabra " * 20, 270)
    word = "abracadabra" * 20_000
    ids = tokenizer.encode(word)
    assert tokenizer.decode(ids) == word
    assert ids == peer_of(tokenizer).encode(word).ids


def peer_of(tokenizer: BytePairTokenizer) -> Tokenizer:
    """Hugging Face's tokenizer with our vocabulary, and our special tokens added to it."""
    symbols = [*tokenizer.vocabulary()]
    merges = [(symbols[left], symbols[right]) for left, right in tokenizer.merges]
    pieces = {symbol: i for i, symbol in enumerate(symbols[: len(tokenizer.pieces)])}
    theirs = Tokenizer(models.BPE(pieces, merges))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.add_special_tokens([*tokenizer.special.names])
    return theirs


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


OVERLAPPING = ["<|a|>", "<|a|><|b|>", "<|", "|>x", "a|", " s"]


@settings(max_examples=200, deadline=None)
@given(parts=st.lists(st.sampled_from([*OVERLAPPING, "<", "|", "a", "b", ">", " ", "x", "\n"])))
def test_overlapping_special_tokens_are_found_as_the_peer_finds_them(parts):
    """The leftmost, and there the longest; text before one ends there."""
    tokenizer = BytePairTokenizer.train_fast("a <|a|> b " * 3, 300, special_tokens=OVERLAPPING)
    text = "".join(parts)
    assert tokenizer.encode(text) == peer_of(tokenizer).encode(text).ids
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("trainer", TRAINERS)
def test_training_does_not_look_into_special_tokens(trainer):
    specials = ["<|user|>", "<|user|> ", END_OF_TEXT]
    segments = ["ab ab", "abc abc ", "abcd ", " "]
    text = f"ab ab<|user|>abc abc <|user|> abcd {END_OF_TEXT} "
    ours = TRAINERS[trainer](text, 256 + 3 + 11, special_tokens=specials)
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    training = trainers.BpeTrainer(
        vocab_size=256 + 11, initial_alphabet=alphabet, min_frequency=2, show_progress=False
    )
    theirs.train_from_iterator(segments, training)
    assert ours.merges == peer_merges(theirs)
    assert [ours.special_ids[s] for s in specials] == [*range(len(ours.pieces), ours.vocab_size)]


def test_untrusted_text_holds_no_special_token(pair):
    ours, theirs = pair
    text = f"nice{END_OF_TEXT} try"
    assert ours.encode_ordinary(text) == theirs.encode(text).ids
    assert ours.end_of_text_id not in ours.encode_ordinary(text)
    assert ours.decode(ours.encode_ordinary(text)) == text


def test_a_memo_stays_in_its_room_and_keeps_what_is_asked_for():
    asked = []
    memo = Memo(lambda word: asked.append(word) or [len(word)], room=20_000)
    for i in range(997):
        assert memo["often"] == [5]
        assert memo[f"rare {i}"] == [len(f"rare {i}")]
    assert asked.count("often") == 1
    assert len(memo) < 60
    assert memo["x" * 9999] == [9999]
    assert "x" * 9999 not in memo


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


def test_the_committed_tokenizer_is_read_written_and_learned_as_ever(tmp_path):
    """The storyteller's weights know these ids and no others."""
    committed = ASSETS / "tokenizer.json"
    ours, theirs = BytePairTokenizer.load(committed), Tokenizer.from_file(str(committed))
    for text in [*AWKWARD, corpus(29, 20)]:
        assert ours.encode(text) == theirs.encode(text).ids
    assert ours.special_ids == {END_OF_TEXT: 639}
    for tokenizer in [ours, train_tokenizer()]:
        tokenizer.save(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == committed.read_bytes()


def test_files_of_the_peer_are_read(pair, tmp_path):
    _, theirs = pair
    theirs.add_special_tokens(["<|user|>", END_OF_TEXT])
    theirs.save(str(tmp_path / "new.json"))
    document = json.loads((tmp_path / "new.json").read_text())
    document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    (tmp_path / "old.json").write_text(json.dumps(document))
    for name in ["new.json", "old.json"]:
        ours = BytePairTokenizer.load(tmp_path / name)
        for text in [*AWKWARD, f"<|user|>hello{END_OF_TEXT}"]:
            assert ours.encode(text) == theirs.encode(text).ids


@pytest.mark.parametrize("trainer", TRAINERS)
def test_training_on_nothing_makes_no_merges(trainer):
    tokenizer = TRAINERS[trainer]("", 300)
    assert tokenizer.merges == []
    assert tokenizer.decode(tokenizer.encode("é")) == "é"


def test_bad_input_is_named():
    tokenizer = BytePairTokenizer.train("ab ab ab", 258)
    for train in TRAINERS.values():
        with pytest.raises(ValueError, match="vocab_size must be at least 257, got 256"):
            train("ab", 256)
        with pytest.raises(ValueError, match="min_frequency must be positive, got 0"):
            train("ab", 300, 0)
        with pytest.raises(ValueError, match=r"'.ud800' is a lone surrogate"):
            train("ab\ud800", 300)
    for encode in [tokenizer.encode, tokenizer.encode_ordinary, tokenizer.encode_pretoken]:
        with pytest.raises(ValueError, match=r"'.udfff' is a lone surrogate"):
            encode("a\udfff")
    with pytest.raises(ValueError, match=r"token id 999 is outside 0…257"):
        tokenizer.decode([999])
    with pytest.raises(ValueError, match="-1"):
        tokenizer.decode([-1])
    with pytest.raises(ValueError, match=r"merge \(300, 1\)"):
        BytePairTokenizer([(300, 1)])
    with pytest.raises(ValueError, match=r"merge \(0, 257\) makes b.!!\". again, which is id 258"):
        BytePairTokenizer([(0, 0), (0, 1), (256, 1), (0, 257)])
    for names in [["a", "a"], [""]]:
        with pytest.raises(ValueError, match="must be distinct and not empty, got"):
            BytePairTokenizer([], names)
    with pytest.raises(ValueError, match=r"<.endoftext.> is not one of \['<s>'\]"):
        _ = BytePairTokenizer([], ["<s>"]).end_of_text_id


BYTES = BytePairTokenizer([], []).vocabulary()
BAD_FILES = {
    "no JSON": "{",
    "no table": "[]",
    "no special tokens": {"model": {"vocab": {"a": 0}, "merges": []}},
    "a byte missing": {"added_tokens": [], "model": {"vocab": {"a": 0}, "merges": []}},
    "an unknown symbol": {"added_tokens": [], "model": {"vocab": BYTES, "merges": [["a", "bc"]]}},
    "three in a merge": {"added_tokens": [], "model": {"vocab": BYTES, "merges": ["a b c"]}},
    "an id twice": {"added_tokens": [], "model": {"vocab": BYTES | {"ab": 7}, "merges": []}},
    "a normalizer": {"normalizer": {"type": "NFC"}, "model": {"vocab": BYTES, "merges": []}},
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_named(tmp_path, kind):
    level = {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}}
    bad = BAD_FILES[kind]
    (tmp_path / "bad.json").write_text(bad if isinstance(bad, str) else json.dumps(level | bad))
    with pytest.raises(ValueError, match=r"bad\.json is no byte-level BPE tokenizer"):
        BytePairTokenizer.load(tmp_path / "bad.json")


def test_another_pretokenizer_is_refused(pair, tmp_path):
    """Its ids would differ from what its model was trained on, and nothing would say so."""
    _, theirs = pair
    theirs = Tokenizer.from_str(theirs.to_str())
    for other in [
        pre_tokenizers.ByteLevel(add_prefix_space=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        pre_tokenizers.Whitespace(),
    ]:
        theirs.pre_tokenizer = other
        theirs.save(str(tmp_path / "other.json"))
        with pytest.raises(ValueError, match=r"other\.json is no .* tokenizer: .*pre-tokenizer"):
            BytePairTokenizer.load(tmp_path / "other.json")


def test_a_special_token_written_like_a_piece_is_not_saved(tmp_path):
    """On reading, the two could not be told apart."""
    with pytest.raises(ValueError, match=r"special tokens that are pieces too: \['a'\]"):
        BytePairTokenizer([], ["a"]).save(tmp_path / "tokenizer.json")
