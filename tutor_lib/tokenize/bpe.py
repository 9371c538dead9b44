"""Byte-level byte-pair encoding: train, encode, decode, save, load."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from tutor_lib.tokenize.pretokenize import byte_characters, byte_order, pretokenize

Pair = tuple[int, int]

END_OF_TEXT = "<|endoftext|>"


class BytePairTokenizer:
    """Byte-level BPE with GPT-2's pre-tokenisation.

    Ids 0–255 are the bytes in GPT-2's order, then one id for each merge, then `<|endoftext|>`.
    `encode` splits the text into pre-tokens, each into bytes, and applies the merges in the
    order in which they were learned. Any text round-trips: what no merge covers stays bytes.

    Sennrich et al. 2016 (arXiv:1508.07909); on bytes: Radford et al. 2019, §2.2.
    """

    def __init__(self, merges: Iterable[Pair]) -> None:
        self.merges = list(merges)
        self._pieces = [bytes([byte]) for byte in byte_order()]
        for new_id, (left, right) in enumerate(self.merges, start=256):
            if max(left, right) >= new_id or min(left, right) < 0:
                raise ValueError(f"merge {(left, right)} makes id {new_id} from ids not yet made")
            self._pieces.append(self._pieces[left] + self._pieces[right])
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._id_of_byte = {piece[0]: i for i, piece in enumerate(self._pieces[:256])}

    @property
    def end_of_text_id(self) -> int:
        """The id that separates documents: the last one."""
        return len(self._pieces)

    @property
    def vocab_size(self) -> int:
        """V: 256 bytes + the merges + end of text."""
        return len(self._pieces) + 1

    @classmethod
    def train(cls, text: str, vocab_size: int, min_frequency: int = 2) -> "BytePairTokenizer":
        """Learn merges until there are `vocab_size` ids or no frequent pair is left.

        Each round merges the most frequent adjacent pair, if it occurs `min_frequency` times;
        of equals, the one with the smaller ids, as Hugging Face's trainer does.

        Raises ValueError if `vocab_size` is under 257 (256 bytes and end of text).
        """
        if vocab_size < 257:
            raise ValueError(f"vocab_size must be at least 257, got {vocab_size}")
        merges: list[Pair] = []
        words = cls(merges)._words(text)
        while len(merges) < vocab_size - 257:
            pair, count = _most_frequent(_count_pairs(words))
            if count < min_frequency:
                break
            new_id = 256 + len(merges)
            words = Counter({_merge(ids, pair, new_id): n for ids, n in words.items()})
            merges.append(pair)
        return cls(merges)

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`. `<|endoftext|>` in it becomes its one id."""
        documents = text.split(END_OF_TEXT)
        ids = self._encode_ordinary(documents[0])
        for document in documents[1:]:
            ids += [self.end_of_text_id, *self._encode_ordinary(document)]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become "�".

        Raises ValueError if an id is out of range.
        """
        return b"".join(self.token_bytes(i) for i in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes one token stands for. Raises ValueError if the id is out of range."""
        if not 0 <= token_id < self.vocab_size:
            raise ValueError(f"token id {token_id} is outside 0…{self.vocab_size - 1}")
        return END_OF_TEXT.encode() if token_id == self.end_of_text_id else self._pieces[token_id]

    def merge_steps(self, pretoken: str) -> Iterator[list[int]]:
        """The ids of one pre-token: as bytes first, then after each merge."""
        ids = tuple(self._id_of_byte[byte] for byte in pretoken.encode())
        yield list(ids)
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda pair: self._rank.get(pair, len(self._rank)))
            if pair not in self._rank:
                return
            ids = _merge(ids, pair, 256 + self._rank[pair])
            yield list(ids)

    def save(self, path: str | Path) -> None:
        """Write a `tokenizer.json` that Hugging Face `tokenizers` reads too."""
        symbols = self._symbols()
        vocabulary = {symbol: i for i, symbol in enumerate(symbols)}
        merges = [[symbols[left], symbols[right]] for left, right in self.merges]
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                      "use_regex": True}  # fmt: skip
        special = {"id": self.end_of_text_id, "content": END_OF_TEXT, "single_word": False,
                   "lstrip": False, "rstrip": False, "normalized": False,
                   "special": True}  # fmt: skip
        document = {
            "version": "1.0",
            "added_tokens": [special],
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
            "model": {"type": "BPE", "vocab": vocabulary, "merges": merges},
        }
        Path(path).write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "BytePairTokenizer":
        """Read what `save` wrote. Raises ValueError if it is not a byte-level BPE tokenizer."""
        try:
            model = json.loads(Path(path).read_text(encoding="utf-8"))["model"]
            vocabulary = model["vocab"]
            merges = [(vocabulary[left], vocabulary[right]) for left, right in model["merges"]]
            tokenizer = cls(merges)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no byte-level BPE tokenizer: {error!r}") from error
        if tokenizer._symbols() != sorted(vocabulary, key=vocabulary.get):
            raise ValueError(f"{path}: the vocabulary is not 256 bytes followed by the merges")
        return tokenizer

    def _symbols(self) -> list[str]:
        shown = dict(zip(byte_order(), byte_characters(), strict=True))
        return ["".join(shown[byte] for byte in piece) for piece in self._pieces]

    def _words(self, text: str) -> Counter[tuple[int, ...]]:
        counts = Counter(pretokenize(text))
        return Counter({tuple(next(self.merge_steps(word))): n for word, n in counts.items()})

    def _encode_ordinary(self, text: str) -> list[int]:
        words = pretokenize(text)
        ids_of = {word: [*self.merge_steps(word)][-1] for word in set(words)}
        return [i for word in words for i in ids_of[word]]


def _count_pairs(words: Counter[tuple[int, ...]]) -> Counter[Pair]:
    pairs: Counter[Pair] = Counter()
    for ids, count in words.items():
        for pair in pairwise(ids):
            pairs[pair] += count
    return pairs


def _most_frequent(pairs: Counter[Pair]) -> tuple[Pair, int]:
    if not pairs:
        return (0, 0), 0
    return max(pairs.items(), key=lambda item: (item[1], -item[0][0], -item[0][1]))


def _merge(ids: tuple[int, ...], pair: Pair, new_id: int) -> tuple[int, ...]:
    """Replace each `pair` in `ids` by `new_id`, from left to right."""
    merged: list[int] = []
    for i in ids:
        if merged and (merged[-1], i) == pair:
            merged[-1] = new_id
        else:
            merged.append(i)
    return tuple(merged)
