"""WordPiece, BERT's tokenizer: words into the longest pieces that the vocabulary has."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tutor_lib.tokenize.bert import bert_normalize, bert_pretokenize
from tutor_lib.tokenize.bpe_fast import learn_merges

UNKNOWN = "[UNK]"
BERT_SPECIAL_TOKENS = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
INSIDE = "##"  # begins a piece that does not begin a word


class WordPieceTokenizer:
    """Words, cut as BERT cuts them, into pieces of a fixed vocabulary; ids are places in it.

    A piece that goes on within a word is written with "##" before it. A word that cannot be put
    together, or has more than `max_word_length` characters, becomes `[UNK]`.

    Schuster and Nakajima 2012; Wu et al. 2016, §4.1 (arXiv:1609.08144); Devlin et al. 2018
    (arXiv:1810.04805).

    Raises ValueError if a piece is there twice, `[UNK]` is missing, or words may have no length.
    """

    def __init__(
        self, pieces: Sequence[str], lowercase: bool = True, max_word_length: int = 100
    ) -> None:
        self.pieces = list(pieces)
        self.id_of_piece = {piece: i for i, piece in enumerate(self.pieces)}
        if len(self.id_of_piece) < len(self.pieces):
            twice = next(piece for piece, n in Counter(self.pieces).items() if n > 1)
            raise ValueError(f"the vocabulary has {twice!r} twice")
        if UNKNOWN not in self.id_of_piece:
            raise ValueError(f"the vocabulary of {len(self.pieces)} pieces has no {UNKNOWN}")
        if max_word_length < 1:
            raise ValueError(f"max_word_length must be positive, got {max_word_length}")
        self.lowercase = lowercase
        self.max_word_length = max_word_length

    @property
    def vocab_size(self) -> int:
        """V: the special tokens, the characters, and the pieces learned."""
        return len(self.pieces)

    @classmethod
    def train(
        cls,
        text: str,
        vocab_size: int,
        min_frequency: int = 2,
        special_tokens: Sequence[str] = BERT_SPECIAL_TOKENS,
        lowercase: bool = True,
    ) -> "WordPieceTokenizer":
        """Learn pieces until there are `vocab_size` of them or no frequent pair is left.

        The vocabulary is the special tokens; all characters, and those seen within words, both
        in the order of Unicode; then a piece for each merge. Like Hugging Face's trainer this
        merges the most frequent pair, as byte-pair encoding does. The paper takes the pair
        that raises the likelihood of the text most.

        Raises ValueError if `vocab_size` does not hold special tokens and characters, or
        `min_frequency` is not positive.
        """
        if min_frequency < 1:
            raise ValueError(f"min_frequency must be positive, got {min_frequency}")
        words = Counter(bert_pretokenize(bert_normalize(text, lowercase)))
        pieces = [*special_tokens, *_alphabet(words)]
        if vocab_size < len(pieces):
            raise ValueError(f"vocab_size must be at least {len(pieces)}, got {vocab_size}")
        id_of = {piece: i for i, piece in enumerate(pieces)}
        as_ids = {tuple(id_of[c] for c in _characters(word)): n for word, n in words.items()}
        merges = learn_merges(as_ids, vocab_size - len(pieces), len(pieces), min_frequency)
        for left, right in merges:
            pieces.append(pieces[left] + pieces[right].removeprefix(INSIDE))
        return cls(pieces, lowercase)

    def encode(self, text: str) -> list[int]:
        """The ids of `text`. Special tokens are not looked for in it."""
        words = bert_pretokenize(bert_normalize(text, self.lowercase))
        return [i for word in words for i in self.encode_word(word)]

    def encode_word(self, word: str) -> list[int]:
        """The ids of one word: again and again the longest piece that the rest begins with."""
        ids: list[int] = []
        start = 0
        while start < len(word) <= self.max_word_length:
            piece = self._longest_piece(word, start)
            if piece is None:
                break
            ids.append(self.id_of_piece[piece])
            start += len(piece.removeprefix(INSIDE)) if start else len(piece)
        return ids if start == len(word) else [self.id_of_piece[UNKNOWN]]

    def _longest_piece(self, word: str, start: int) -> str | None:
        prefix = INSIDE if start else ""
        ends = range(len(word), start, -1)
        candidates = (prefix + word[start:end] for end in ends)
        return next((piece for piece in candidates if piece in self.id_of_piece), None)

    def decode(self, ids: Iterable[int]) -> str:
        """The pieces with a space between words: what `encode` dropped does not come back.

        Raises ValueError if an id is out of range.
        """
        return " ".join(map(self._piece, ids)).replace(f" {INSIDE}", "")

    def _piece(self, token_id: int) -> str:
        if not 0 <= token_id < self.vocab_size:
            raise ValueError(f"token id {token_id} is outside 0…{self.vocab_size - 1}")
        return self.pieces[token_id]

    def save(self, path: str | Path) -> None:
        """Write BERT's `vocab.txt`: a piece a line, the line its id."""
        Path(path).write_text("".join(f"{piece}\n" for piece in self.pieces), "utf-8", newline="\n")

    @classmethod
    def load(cls, path: str | Path, lowercase: bool = True) -> "WordPieceTokenizer":
        """Read a `vocab.txt`. Raises ValueError as making a tokenizer does."""
        *pieces, last = Path(path).read_text("utf-8").split("\n")
        return cls([*pieces, last] if last else pieces, lowercase)


def _characters(word: str) -> Iterator[str]:
    """The characters of a word as pieces: the first as it is, "##" before each other."""
    return (INSIDE + c if i else c for i, c in enumerate(word))


def _alphabet(words: Iterable[str]) -> list[str]:
    """Every character, as the beginning of a word; then those seen within one."""
    whole, inner = {c for word in words for c in word}, {c for word in words for c in word[1:]}
    return sorted(whole) + [INSIDE + c for c in sorted(inner)]
