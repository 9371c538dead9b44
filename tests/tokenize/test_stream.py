"""A text in chunks gives the ids of the whole, in memory that does not grow with it."""

import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_lib.tokenize import stream
from tutor_lib.tokenize.bpe import END_OF_TEXT, BytePairTokenizer
from tutor_lib.tokenize.incremental import IncrementalEncoder
from tutor_lib.tokenize.stream import encode_chunks, encode_file, encode_ordinary_chunks

SPECIALS = [END_OF_TEXT, "<a>", "<a><b>", "<", "'s", "\n\n"]
PARTS = ["a", "b", "'", "re", "r", "e", "s", "l", "v", " ", "\n", "\r\n", "\u3000", "1", ".",
         "é", "日", "😀", "<a>", "<b>", END_OF_TEXT, "a" * 19, " " * 17, "." * 13, "'" * 11,
         "2" * 23]  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> BytePairTokenizer:
    rng = random.Random(3)
    text = "".join(rng.choices(PARTS, k=2003)) + "we'll you've they're " * 7
    return BytePairTokenizer.train_fast(text, 401, special_tokens=SPECIALS)


@st.composite
def chunked(draw) -> list[str]:
    text = "".join(draw(st.lists(st.sampled_from(PARTS) | st.characters(codec="utf-8"))))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=31)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@pytest.mark.parametrize("longest", [3, stream.CHUNK])
def test_any_chunks_give_the_ids_of_the_whole(tokenizer, monkeypatch, longest):
    """With 3, nearly every pre-token is one that is too long to be held."""
    monkeypatch.setattr(stream, "CHUNK", longest)

    @settings(max_examples=300, deadline=None)
    @given(chunks=chunked())
    def check(chunks):
        text = "".join(chunks)
        assert [*encode_chunks(tokenizer, chunks)] == tokenizer.encode(text)
        assert [*encode_ordinary_chunks(tokenizer, chunks)] == tokenizer.encode_ordinary(text)

    check()


@pytest.mark.parametrize(
    "text",
    [
        "it're 'ree 've'r''ll", "x'", "'l", "a \n b", "   ", "  x", "<a><b>", "<a><", "é日😀", "",
        END_OF_TEXT[:-1], f"a {END_OF_TEXT} b", "'" * 40 + "s", " " * 40 + "x", "x" + " " * 40,
    ],
)  # fmt: skip
def test_every_cut_in_two_and_every_single_character(tokenizer, monkeypatch, text):
    monkeypatch.setattr(stream, "CHUNK", 7)
    whole = tokenizer.encode(text)
    assert [*encode_chunks(tokenizer, text)] == whole
    for cut in range(len(text) + 1):
        assert [*encode_chunks(tokenizer, [text[:cut], text[cut:]])] == whole


@pytest.mark.parametrize("letters", ["a", "ab", "abc"])
def test_a_pretoken_in_parts_gives_the_ids_of_the_plain_merges(letters):
    rng = random.Random(5)
    for _ in range(37):
        words = ["".join(rng.choices(letters, k=rng.randint(1, 19))) for _ in range(23)]
        tokenizer = BytePairTokenizer.train_fast(" ".join(words), rng.randint(258, 300))
        word, encoder = "".join(rng.choices(letters, k=307)), IncrementalEncoder(tokenizer)
        ids = [i for letter in word for i in encoder.feed(letter)]
        assert ids, "most is settled before the end"
        assert [*ids, *encoder.finish()] == [*tokenizer.merge_steps(word)][-1]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_file_gives_the_ids_of_its_text(tokenizer, tmp_path, newline):
    """Three bytes a character, so that the buffer's edge falls into one; line ends stay."""
    text = f"\ufeff日本{newline}語 {END_OF_TEXT}'re" * 5003
    (tmp_path / "text.txt").write_bytes(text.encode())
    assert [*encode_file(tokenizer, tmp_path / "text.txt")] == tokenizer.encode(text)


def test_bad_text_is_named(tokenizer, tmp_path):
    (tmp_path / "latin.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt is not UTF-8: byte 0xe9"):
        [*encode_file(tokenizer, tmp_path / "latin.txt")]
    with pytest.raises(ValueError, match=r"'.ud83c' is a lone surrogate"):
        [*encode_chunks(tokenizer, ["a\ud83c", "\udf89"])]


def prose(rng: random.Random, size: int) -> str:
    """Words as often as in a language (Zipf's law), of a vocabulary far larger than the memo."""
    syllables = [a + b for a in "bdfgklmnprst" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 4))) for _ in range(20_011)]
    weights = [1 / rank for rank in range(1, len(words) + 1)]
    return " ".join(rng.choices(words, weights, k=size // 3))[:size]


def ideographs(rng: random.Random, size: int) -> str:
    """Each character a pre-token of its own, and none twice in a while: the costliest to hold."""
    return "".join(chr(rng.randrange(0x4E00, 0x9FFF)) + "." for _ in range(size // 4))


def one_word(rng: random.Random, size: int) -> str:
    return "".join(rng.choices("aeinst", k=size))


def spaces(rng: random.Random, size: int) -> str:
    return " " * size


def peak_bytes(tokenizer: BytePairTokenizer, path) -> int:
    """The most memory that Python took over what it had, while the file was encoded."""
    tracemalloc.start()
    try:
        for _ in encode_file(tokenizer, path):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check_memory(kind, size: int, path) -> None:
    rng = random.Random(7)
    sample = " " * 67 + prose(rng, 30_011) + ideographs(rng, 2003) + one_word(rng, 307)
    tokenizer = BytePairTokenizer.train_fast(sample, 601)
    path.write_text(kind(rng, size), encoding="utf-8")
    assert path.stat().st_size >= size - 4
    assert peak_bytes(tokenizer, path) < 1_000_000


@pytest.mark.parametrize(
    ("kind", "size"),
    [(prose, 1_500_007), (ideographs, 300_007), (one_word, 100_003), (spaces, 100_003)],
)
def test_a_file_is_encoded_within_a_megabyte(kind, size, tmp_path):
    """Held whole, each would take several, as text or as ids; two of them are a single word."""
    check_memory(kind, size, tmp_path / "text.txt")


@pytest.mark.slow
def test_a_file_of_24_megabytes_is_encoded_within_a_megabyte(tmp_path):
    check_memory(prose, 24_000_001, tmp_path / "text.txt")
