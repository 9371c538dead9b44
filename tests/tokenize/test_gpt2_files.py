"""`vocab.json` and `merges.txt`: what we write, Hugging Face reads, and the other way round."""

import json

import pytest
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers

from tutor_lib.tokenize.bpe import END_OF_TEXT, BytePairTokenizer
from tutor_lib.tokenize.gpt2_files import read_gpt2_files, write_gpt2_files
from tutor_lib.train.corpus import corpus

TEXTS = [
    "",
    "  The cat's\n\tmat é 日本 🎉  ",
    "lived in the forest",
    "#version: 0.2",
    "\x85 \u2028",
]


@pytest.fixture(scope="module")
def text() -> str:
    return corpus(7, 150).replace(END_OF_TEXT, " é日 #version \n") + "\x85\u2028# #" * 5


@pytest.fixture
def folder(text, tmp_path):
    write_gpt2_files(BytePairTokenizer.train_fast(text, 419), tmp_path / "gpt2")
    return tmp_path / "gpt2"


def test_the_peer_reads_what_we_write(folder):
    ours = read_gpt2_files(folder)
    vocabulary, merges = str(folder / "vocab.json"), str(folder / "merges.txt")
    theirs = Tokenizer(models.BPE.from_file(vocabulary, merges))
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    whole = ByteLevelBPETokenizer(vocabulary, merges)
    whole.add_special_tokens([END_OF_TEXT])
    for text in TEXTS:
        assert ours.encode(text) == theirs.encode(text).ids == whole.encode(text).ids
    marked = END_OF_TEXT.join(TEXTS)
    assert ours.encode(marked) == whole.encode(marked).ids
    assert ours.end_of_text_id == whole.token_to_id(END_OF_TEXT) == 418


def test_we_read_what_the_peer_writes(text, tmp_path):
    theirs = ByteLevelBPETokenizer()
    theirs.train_from_iterator([text], vocab_size=419, min_frequency=2, show_progress=False)
    theirs.save_model(str(tmp_path))
    ours = read_gpt2_files(tmp_path)
    assert (ours.vocab_size, ours.special_ids) == (419, {})
    for sample in TEXTS:
        assert ours.encode(sample) == theirs.encode(sample).ids


def test_what_we_write_we_read(folder):
    ours = read_gpt2_files(folder)
    write_gpt2_files(ours, folder / "again")
    for name in ["vocab.json", "merges.txt"]:
        assert (folder / name).read_bytes() == (folder / "again" / name).read_bytes()
    assert (ours.vocab_size, ours.special.names) == (419, (END_OF_TEXT,))


def test_special_tokens_come_last_in_their_order(tmp_path):
    tokenizer = BytePairTokenizer([(64, 65)], ["<pad>", END_OF_TEXT, "<a b>"])
    write_gpt2_files(tokenizer, tmp_path)
    assert read_gpt2_files(tmp_path).special_ids == {"<pad>": 257, END_OF_TEXT: 258, "<a b>": 259}


@pytest.mark.parametrize("first", ["#version: 0.2\n", ""])
@pytest.mark.parametrize("end", ["\n", ""])
def test_version_line_and_last_line_end_may_be_missing(folder, first, end):
    before, path = read_gpt2_files(folder), folder / "merges.txt"
    lines = path.read_text("utf-8").split("\n", 1)[1].rstrip("\n")
    path.write_text(first + lines + end, "utf-8")
    assert read_gpt2_files(folder).merges == before.merges


@pytest.mark.parametrize("bad", ["a", "a b c", "", "a  b", "a zz", "zz a", "a q#", "#version: 0.2"])
def test_a_malformed_merge_is_named_with_its_line(folder, bad):
    lines = (folder / "merges.txt").read_text("utf-8").split("\n")
    lines[12] = bad
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    with pytest.raises(ValueError, match=rf"merges.txt, line 13: '{bad}' is no merge of two"):
        read_gpt2_files(folder)


@pytest.mark.parametrize("bad", ["{", "[1, 2]", '{"a": "b"}', '{"a": 0.5}', '{"a": null}'])
def test_a_bad_vocabulary_is_named(folder, bad):
    (folder / "vocab.json").write_text(bad)
    with pytest.raises(ValueError, match=r"vocab\.json"):
        read_gpt2_files(folder)


def test_ids_out_of_place_are_named(folder):
    """RoBERTa's files begin with its special tokens; read as GPT-2's, every id would be wrong."""
    path = folder / "vocab.json"
    shifted = {symbol: i + 1 for symbol, i in json.loads(path.read_text("utf-8")).items()}
    path.write_text(json.dumps({"<s>": 0} | shifted), "utf-8")
    with pytest.raises(ValueError, match=r"gpt2 holds no byte-level BPE tokenizer"):
        read_gpt2_files(folder)


def test_two_merges_in_each_others_place_are_named(folder):
    lines = (folder / "merges.txt").read_text("utf-8").split("\n")
    lines[1], lines[2] = lines[2], lines[1]
    (folder / "merges.txt").write_text("\n".join(lines), "utf-8")
    with pytest.raises(ValueError, match=r"must have id 256, not 257"):
        read_gpt2_files(folder)
