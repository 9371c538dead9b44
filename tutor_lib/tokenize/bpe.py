"""Byte-level byte-pair encoding: train, encode, decode, save, load."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, pairwise
from pathlib import Path

from tutor_lib.tokenize.bpe_fast import Memo, Pair, apply_merges, learn_merges
from tutor_lib.tokenize.pretokenize import byte_characters, byte_order, pretokenize, utf8
from tutor_lib.tokenize.special import SpecialTokens

END_OF_TEXT = "<|endoftext|>"
MEMO_BYTES = 2**24


class BytePairTokenizer:
    """Byte-level BPE with GPT-2's pre-tokenisation.

    Ids 0–255 are the bytes in GPT-2's order, then one id for each merge, then one for each
    special token: `<|endoftext|>` unless told otherwise.
    `encode` splits the text into pre-tokens, each into bytes, and applies the merges in the
    order in which they were learned. Any text round-trips: what no merge covers stays bytes.

    Sennrich et al. 2016 (arXiv:1508.07909); on bytes: Radford et al. 2019, §2.2.

    Raises ValueError if a merge joins ids not yet made or makes a piece again, or if special
    tokens are empty or repeated.
    """

    def __init__(
        self, merges: Iterable[Pair], special_tokens: Sequence[str] = (END_OF_TEXT,)
    ) -> None:
        self.merges = list(merges)
        self.pieces = [bytes([byte]) for byte in byte_order()]
        self.id_of_piece = {piece: i for i, piece in enumerate(self.pieces)}
        for new_id, (left, right) in enumerate(self.merges, start=256):
            if max(left, right) >= new_id or min(left, right) < 0:
                raise ValueError(f"merge {(left, right)} makes id {new_id} from ids not yet made")
            self._add(self.pieces[left] + self.pieces[right], (left, right))
        self.special = SpecialTokens(special_tokens)
        self.special_ids = {s: i for i, s in enumerate(special_tokens, start=len(self.pieces))}
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._memo = Memo(self.encode_pretoken, MEMO_BYTES)

    def _add(self, piece: bytes, pair: Pair) -> None:
        if piece in self.id_of_piece:
            first = self.id_of_piece[piece]
            raise ValueError(f"merge {pair} makes {piece!r} again, which is id {first}")
        self.id_of_piece[piece] = len(self.pieces)
        self.pieces.append(piece)

    @property
    def end_of_text_id(self) -> int:
        """The id that separates documents. Raises ValueError if there is none."""
        if END_OF_TEXT not in self.special_ids:
            raise ValueError(f"{END_OF_TEXT} is not one of {list(self.special_ids)}")
        return self.special_ids[END_OF_TEXT]

    @property
    def vocab_size(self) -> int:
        """V: 256 bytes + the merges + the special tokens."""
        return len(self.pieces) + len(self.special_ids)

    @classmethod
    def train(
        cls,
        text: str,
        vocab_size: int,
        min_frequency: int = 2,
        special_tokens: Sequence[str] = (END_OF_TEXT,),
    ) -> "BytePairTokenizer":
        """Learn merges until there are `vocab_size` ids or no frequent pair is left.

        Each round merges the most frequent adjacent pair, if it occurs `min_frequency` times;
        of equals, the one with the smaller ids, as Hugging Face's trainer does. Special tokens
        in `text` only end what comes before them. `train_fast` learns the same merges sooner.

        Raises ValueError if `vocab_size` is under 256 and the special tokens, or
        `min_frequency` not positive.
        """
        untrained = cls([], special_tokens)
        n_merges = _n_merges(vocab_size, untrained.vocab_size, min_frequency)
        words = untrained._words(text)
        merges: list[Pair] = []
        while len(merges) < n_merges:
            pair, count = _most_frequent(_count_pairs(words))
            if count < min_frequency:
                break
            new_id = 256 + len(merges)
            words = Counter({_merge(ids, pair, new_id): n for ids, n in words.items()})
            merges.append(pair)
        return cls(merges, special_tokens)

    @classmethod
    def train_fast(
        cls,
        text: str,
        vocab_size: int,
        min_frequency: int = 2,
        special_tokens: Sequence[str] = (END_OF_TEXT,),
    ) -> "BytePairTokenizer":
        """What `train` gives, from an index of pairs that each merge only mends.

        Raises ValueError as `train` does.
        """
        untrained = cls([], special_tokens)
        n_merges = _n_merges(vocab_size, untrained.vocab_size, min_frequency)
        merges = learn_merges(untrained._words(text), n_merges, 256, min_frequency)
        return cls(merges, special_tokens)

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`. A special token in it becomes its one id.

        Raises ValueError if `text` holds a lone surrogate.
        """
        ids: list[int] = []
        for i, part in enumerate(self.special.split(text)):
            ids += [self.special_ids[part]] if i % 2 else self.encode_ordinary(part)
        return ids

    def encode_ordinary(self, text: str) -> list[int]:
        """The token ids of `text`, in which nothing is special: for text that is not trusted.

        Who may write `<|endoftext|>` into a prompt could otherwise end it.

        Raises ValueError if `text` holds a lone surrogate.
        """
        return [*chain.from_iterable(map(self._memo.__getitem__, pretokenize(text)))]

    def encode_pretoken(self, pretoken: str) -> list[int]:
        """The ids of one pre-token: the last of `merge_steps`, found faster.

        Raises ValueError if `pretoken` holds a lone surrogate.
        """
        return self.encode_bytes(utf8(pretoken))

    def encode_bytes(self, data: bytes) -> list[int]:
        """The ids of the bytes of one pre-token, or of a part of it."""
        return apply_merges(self._byte_ids(data), self._rank, 256)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`; bytes that are not UTF-8 become "�".

        Raises ValueError if an id is out of range.
        """
        return b"".join(self.token_bytes(i) for i in ids).decode("utf-8", errors="replace")

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes one token stands for. Raises ValueError if the id is out of range."""
        if not 0 <= token_id < self.vocab_size:
            raise ValueError(f"token id {token_id} is outside 0…{self.vocab_size - 1}")
        n_pieces = len(self.pieces)
        if token_id >= n_pieces:
            return self.special.names[token_id - n_pieces].encode()
        return self.pieces[token_id]

    def merge_steps(self, pretoken: str) -> Iterator[list[int]]:
        """The ids of one pre-token: as bytes first, then after each merge."""
        ids = tuple(self._byte_ids(utf8(pretoken)))
        yield list(ids)
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda pair: self._rank.get(pair, len(self._rank)))
            if pair not in self._rank:
                return
            ids = _merge(ids, pair, 256 + self._rank[pair])
            yield list(ids)

    def vocabulary(self) -> dict[str, int]:
        """The id of each symbol: a piece with a printable character a byte, or a special token.

        Raises ValueError if a special token is written like a piece.
        """
        shown = dict(zip(byte_order(), byte_characters(), strict=True))
        symbols = ["".join(shown[byte] for byte in piece) for piece in self.pieces]
        if twice := self.special_ids.keys() & set(symbols):
            raise ValueError(f"special tokens that are pieces too: {sorted(twice)}")
        return {symbol: i for i, symbol in enumerate([*symbols, *self.special_ids])}

    @classmethod
    def from_vocabulary(
        cls, vocabulary: Mapping[str, int], merges: Iterable[tuple[str, str]]
    ) -> "BytePairTokenizer":
        """The tokenizer that a file describes; symbols after the last merge's are special.

        Raises ValueError if the ids are not those of the bytes, the merges and the special
        tokens, in this order, or a merge is of unknown symbols.
        """
        merges = list(merges)
        if unknown := [s for pair in merges for s in pair if s not in vocabulary]:
            raise ValueError(f"a merge has {unknown[0]!r}, which is not in the vocabulary")
        pairs = [(vocabulary[left], vocabulary[right]) for left, right in merges]
        in_order = sorted(vocabulary, key=vocabulary.__getitem__)
        tokenizer = cls(pairs, in_order[256 + len(pairs) :])
        for symbol, i in tokenizer.vocabulary().items():
            if vocabulary.get(symbol) != i:
                raise ValueError(f"{symbol!r} must have id {i}, not {vocabulary.get(symbol)}")
        return tokenizer

    def save(self, path: str | Path) -> None:
        """Write a `tokenizer.json` that Hugging Face `tokenizers` reads too.

        Raises ValueError if a special token is written like a piece.
        """
        symbols = [*(vocabulary := self.vocabulary())]
        merges = [[symbols[left], symbols[right]] for left, right in self.merges]
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                      "use_regex": True}  # fmt: skip
        special = [{"id": i, "content": name, "single_word": False, "lstrip": False,
                    "rstrip": False, "normalized": False, "special": True}
                   for name, i in self.special_ids.items()]  # fmt: skip
        pieces = {symbol: i for symbol, i in vocabulary.items() if i < len(self.pieces)}
        document = {
            "version": "1.0",
            "added_tokens": special,
            "pre_tokenizer": byte_level,
            "decoder": byte_level,
            "model": {"type": "BPE", "vocab": pieces, "merges": merges},
        }
        Path(path).write_text(json.dumps(document, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "BytePairTokenizer":
        """Read what `save` wrote.

        Raises ValueError if it is not a byte-level BPE tokenizer with GPT-2's pre-tokenisation.
        """
        try:
            document = json.loads(Path(path).read_text(encoding="utf-8"))
            before, model = document["pre_tokenizer"], document["model"]
            as_gpt2 = before["type"] == "ByteLevel" and before.get("use_regex", True)
            if document.get("normalizer") or not as_gpt2 or before["add_prefix_space"]:
                raise ValueError(f"normalizer {document.get('normalizer')}, pre-tokenizer {before}")
            added = {token["content"]: token["id"] for token in document["added_tokens"]}
            # Older files write a merge as one string.
            merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
            return cls.from_vocabulary(model["vocab"] | added, [(a, b) for a, b in merges])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no byte-level BPE tokenizer: {error!r}") from error

    def _byte_ids(self, data: bytes) -> list[int]:
        return [self.id_of_piece[data[i : i + 1]] for i in range(len(data))]

    def _words(self, text: str) -> Counter[tuple[int, ...]]:
        ordinary = self.special.split(text)[::2]
        counts = Counter(chain.from_iterable(map(pretokenize, ordinary)))
        return Counter({tuple(self._byte_ids(utf8(word))): n for word, n in counts.items()})


def _n_merges(vocab_size: int, taken: int, min_frequency: int) -> int:
    if vocab_size < taken:
        raise ValueError(f"vocab_size must be at least {taken}, got {vocab_size}")
    if min_frequency < 1:
        raise ValueError(f"min_frequency must be positive, got {min_frequency}")
    return vocab_size - taken


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
