"""GPT-2's two files: `vocab.json`, symbols and ids, and `merges.txt`, a merge a line."""

import json
from collections.abc import Iterator
from pathlib import Path

from tutor_lib.tokenize.bpe import BytePairTokenizer


def write_gpt2_files(tokenizer: BytePairTokenizer, folder: str | Path) -> None:
    """Write `vocab.json` and `merges.txt` into `folder`, made if missing.

    Special tokens have the last ids of `vocab.json`, as `<|endoftext|>` has in GPT-2's own.

    Raises ValueError if a special token is written like a piece.
    """
    symbols = [*(vocabulary := tokenizer.vocabulary())]
    lines = ["#version: 0.2", *(f"{symbols[a]} {symbols[b]}" for a, b in tokenizer.merges)]
    (folder := Path(folder)).mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8", newline="\n")


def read_gpt2_files(folder: str | Path) -> BytePairTokenizer:
    """The tokenizer of `vocab.json` and `merges.txt` in `folder`.

    What `vocab.json` holds after the merges is a special token.

    Raises ValueError if a file is malformed, naming the line, or the two do not fit together.
    """
    folder = Path(folder)
    vocabulary = _read_vocabulary(folder / "vocab.json")
    merges = [*_read_merges(folder / "merges.txt", vocabulary)]
    try:
        return BytePairTokenizer.from_vocabulary(vocabulary, merges)
    except ValueError as error:
        raise ValueError(f"{folder} holds no byte-level BPE tokenizer: {error}") from error


def _read_vocabulary(path: Path) -> dict[str, int]:
    try:
        vocabulary = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not isinstance(vocabulary, dict) or not all(type(i) is int for i in vocabulary.values()):
        raise ValueError(f"{path} is no table of symbols and ids")
    return vocabulary


def _read_merges(path: Path, vocabulary: dict[str, int]) -> Iterator[tuple[str, str]]:
    """The merges, line by line. The first line may give the version."""
    *lines, last = path.read_text("utf-8").split("\n")
    for number, line in enumerate([*lines, last] if last else lines, start=1):
        symbols = line.split(" ")
        if number == 1 and line.startswith("#version"):
            continue
        if len(symbols) != 2 or not {*symbols, "".join(symbols)} <= vocabulary.keys():
            raise ValueError(f"{path}, line {number}: {line!r} is no merge of two known symbols")
        yield symbols[0], symbols[1]
