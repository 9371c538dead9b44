"""Unigram: a vocabulary with probabilities, and the most probable way to write a text in it."""

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest

import regex

from tutor_lib.tokenize.lattice import Lattice, PieceScores
from tutor_lib.tokenize.unigram_train import learn_pieces

UNKNOWN = "<unk>"
SPACE = "▁"
WORD = regex.compile(f"{SPACE}?[^{SPACE}]+|{SPACE}")


class UnigramTokenizer:
    """Words into the pieces with the highest Π p(piece); ids are places in the vocabulary.

    A space is written "▁" and belongs to the word after it; the first word has one too.
    Characters that no piece covers become `<unk>`, one for each run of them.

    Kudo 2018 (arXiv:1804.10959); Kudo and Richardson 2018 (arXiv:1808.06226).

    `pieces` are pairs of piece and log p in nats; that of `<unk>` is not used.

    Raises ValueError if a piece is empty or there twice, log p is not finite, or `<unk>` is
    missing.
    """

    def __init__(self, pieces: Sequence[tuple[str, float]]) -> None:
        self.pieces = list(pieces)
        self.id_of_piece = {piece: i for i, (piece, _) in enumerate(self.pieces)}
        if bad := [(p, s) for p, s in self.pieces if not p or not math.isfinite(s)]:
            raise ValueError(f"pieces must not be empty nor log p infinite, got {bad[0]}")
        if len(self.id_of_piece) < len(self.pieces):
            twice = next(p for p, n in Counter(p for p, _ in self.pieces).items() if n > 1)
            raise ValueError(f"the vocabulary has {twice!r} twice")
        if UNKNOWN not in self.id_of_piece:
            raise ValueError(f"the vocabulary of {len(self.pieces)} pieces has no {UNKNOWN}")
        self._scores = PieceScores({p: log_p for p, log_p in self.pieces if p != UNKNOWN})

    @property
    def vocab_size(self) -> int:
        """V: `<unk>` and the pieces."""
        return len(self.pieces)

    @classmethod
    def train(cls, text: str, vocab_size: int) -> "UnigramTokenizer":
        """Learn `vocab_size` pieces, `<unk>` among them, or fewer if `text` has no more.

        Raises ValueError if `vocab_size` does not hold `<unk>` and the characters of `text`.
        """
        learned = learn_pieces(Counter(split_words(text)), vocab_size - 1)
        return cls([(UNKNOWN, 0.0), *learned.items()])

    def encode(self, text: str) -> list[int]:
        """The ids of the most probable pieces of `text`."""
        return self._ids(text, Lattice.best)

    def sample(self, text: str, alpha: float, rng: random.Random) -> list[int]:
        """The ids of one way to cut `text`, drawn with p(way)^α / Z over all ways.

        Subword regularisation: eq. 8 with l = ∞. α = 0 draws each way equally often; a large α
        draws the best one.

        Raises ValueError if `alpha` is negative or not finite.
        """
        if not 0 <= alpha < math.inf:
            raise ValueError(f"alpha must be finite and not negative, got {alpha}")
        return self._ids(text, lambda lattice: lattice.sample(alpha, rng))

    def n_best(self, text: str, n: int) -> list[tuple[float, list[int]]]:
        """The `n` most probable ways to cut `text`, or all if there are fewer: log p and ids.

        Raises ValueError if `n` is not positive.
        """
        if n < 1:
            raise ValueError(f"n must be positive, got {n}")
        ways: list[tuple[float, list[int]]] = [(0.0, [])]
        for word in split_words(text):
            longer = ((a + b, ids + self._word_ids(pieces)) for a, ids in ways
                      for b, pieces in Lattice(word, self._scores).n_best(n))  # fmt: skip
            ways = nlargest(n, longer, key=lambda way: way[0])
        return ways

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`, without the space before its first word.

        Raises ValueError if an id is out of range.
        """
        return "".join(map(self._piece, ids)).replace(SPACE, " ").removeprefix(" ")

    def _piece(self, token_id: int) -> str:
        if not 0 <= token_id < self.vocab_size:
            raise ValueError(f"token id {token_id} is outside 0…{self.vocab_size - 1}")
        return self.pieces[token_id][0]

    def _ids(self, text: str, cut: Callable[[Lattice], list[str]]) -> list[int]:
        lattices = (Lattice(word, self._scores) for word in split_words(text))
        return [i for lattice in lattices for i in self._word_ids(cut(lattice))]

    def _word_ids(self, pieces: Iterable[str]) -> list[int]:
        """The ids of a word's pieces, a run of unknown ones as one."""
        unknown, ids = self.id_of_piece[UNKNOWN], list[int]()
        for piece in pieces:
            i = self.id_of_piece[piece] if piece in self._scores.log_p else unknown
            if i != unknown or ids[-1:] != [unknown]:
                ids.append(i)
        return ids


def split_words(text: str) -> list[str]:
    """The words of `text`, each from its "▁" on; the words joined are the text so written.

    >>> split_words("The  cat")
    ['▁The', '▁', '▁cat']
    """
    marked = text.replace(" ", SPACE)
    return WORD.findall(marked if marked.startswith(SPACE) or not text else SPACE + marked)
