"""The tokenizer in JavaScript against tutor_lib's, id for id."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutor_lib.demos.weights import storyteller
from tutor_lib.tokenize.pretokenize import byte_order, pretokenize

TEXTS = [
    "",
    " ",
    "The cat sat on the mat because it was tired.",
    "cat cat  cat   cat    ",
    "\n\n a\tb \r\n c",
    "naïve café, déjà vu; ŁÓDŹ Ωμέγα Привет 你好 नमस्ते",
    "a cat 🐈 and 👩‍👩‍👧 and ❤️ and 🇵🇱",
    "7 42 1234 3.14159 ½ Ⅷ ²",
    "I'm, you're, he'll, 'S, don't've",
    "one<|endoftext|>two<|endoftext|><|endoftext|>",
    "\u0085next\u00a0no\u2003em\u3000wide\ufeffmark\u200bzero",
    "\x00\x1c\x1f\x7f",
]
# Code points that no Unicode version names yet may be classed differently by two libraries.
CHARACTERS = st.characters(exclude_categories=["Cs", "Cn"])


@pytest.fixture(scope="session")
def encode(teller):
    def run(text):
        return teller.evaluate(
            """(text) => { const ids = teller.tokenizer.encode(text);
                 return { ids, text: teller.tokenizer.decode(ids) }; }""",
            text,
        )

    return run


@pytest.mark.parametrize("text", TEXTS)
def test_same_ids(encode, text):
    assert encode(text) == {"ids": storyteller()[1].encode(text), "text": text}


@settings(deadline=None, max_examples=200)
@given(text=st.text(CHARACTERS) | st.text("aehtc '\n\t  é🐈") | st.text("the cat"))
def test_same_ids_on_any_text(encode, text):
    assert encode(text) == {"ids": storyteller()[1].encode(text), "text": text}


@pytest.mark.parametrize("text", TEXTS)
def test_pretokenize(code, text):
    assert code("pretokenize", text) == pretokenize(text)


def test_byte_order(code):
    assert code("byteOrder") == byte_order()


def test_merge_pair(code):
    assert code("mergePair", [1, 1, 1, 2, 1, 1], [1, 1], 9) == [9, 1, 2, 9]


@pytest.mark.parametrize("word", [" because", "unbelievably", "é", "🐈", "a"])
def test_steps(teller, word):
    """Each step of the page is a step of the library, with the rank of its merge."""
    tokenizer = storyteller()[1]
    steps = teller.evaluate(
        "(word) => plain(code.wordSteps(teller.tokenizer, { word, ids: [] }))", word
    )
    assert [step["ids"] for step in steps] == [*tokenizer.merge_steps(word)]
    for step in steps[1:]:
        assert tokenizer.merges[step["rank"]] == tuple(step["pair"])
        assert step["id"] == 256 + step["rank"]


def test_end_of_text_has_no_steps(teller):
    steps = teller.evaluate(
        "code.wordSteps(teller.tokenizer, { word: code.END_OF_TEXT, ids: [5] })"
    )
    assert steps == [{"ids": [5]}]


def test_words_join_to_the_text(teller):
    text = "one cat<|endoftext|> two  cats"
    words = teller.evaluate("(text) => plain(code.cutWords(teller.tokenizer, text))", text)
    assert "".join(word["word"] for word in words) == text
    assert [i for word in words for i in word["ids"]] == storyteller()[1].encode(text)


def test_counts(code):
    assert code("counts", "é🐈", [1, 2]) == {"characters": 2, "bytes": 6, "tokens": 2}


def test_bytes_a_reader_can_see(code):
    def show(raw: bytes) -> str:
        return code.page.evaluate("(raw) => code.showBytes(Uint8Array.from(raw))", [*raw])

    shown = [show(raw) for raw in (b" a", "é".encode(), b"\xf0\x9f", b"\n", b"\x00")]
    assert shown == ["␣a", "é", "F0 9F", "⏎", "U+0"]
    family = "👩\u200d👧"
    assert show(family.encode()) == family


def test_a_character_of_many_tokens_comes_with_its_last(teller):
    ids = storyteller()[1].encode("x🐈y")
    texts = teller.evaluate("(ids) => teller.tokenizer.decodeEach(ids)", ids)
    assert texts == ["x", "", "", "", "🐈", "y"]
    half = teller.evaluate("(ids) => teller.tokenizer.decode(ids)", ids[:3])
    assert half == storyteller()[1].decode(ids[:3])


def test_bad_ids_and_merges(teller):
    with pytest.raises(Exception, match="token id 9999 is outside"):
        teller.evaluate("teller.tokenizer.decode([9999])")
    with pytest.raises(Exception, match="merge 0 joins ids 1 and 256"):
        teller.evaluate("new code.BytePairTokenizer([[1, 256]])")


def test_an_empty_prompt_is_the_end_of_the_text_before(teller):
    assert teller.evaluate("code.promptIds(teller.tokenizer, '')") == [
        storyteller()[1].end_of_text_id
    ]
    assert teller.evaluate("code.promptIds(teller.tokenizer, ' cat')") == storyteller()[1].encode(
        " cat"
    )
