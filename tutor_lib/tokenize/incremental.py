"""Byte-pair encoding of a pre-token without end, byte by byte, in bounded memory.

Two facts make it possible. Where the encoding of a text has a boundary, no merge crossed it: so
what lies before and what lies after are encoded as if they stood alone. And tokens in a row are
the encoding of their text exactly if every two neighbours are the encoding of theirs: the first
merge to cross a boundary would cross it in that pair alone, too.
"""

from collections.abc import Iterator
from functools import lru_cache

from tutor_lib.tokenize.bpe import BytePairTokenizer
from tutor_lib.tokenize.pretokenize import utf8

START = -1  # stands for the token before the first


class IncrementalEncoder:
    """Takes one pre-token in parts; gives each id once no later text can change it.

    `_last[i]` is the last token of the encoding of the first i bytes held: the one piece that
    ends there and may follow the last token of what it leaves. With M the length of the longest
    piece, the encoding of any longer text has a boundary at one of the last M places, and goes
    back from there along `_last`. Before the place where all these ways meet, all is settled.
    """

    def __init__(self, tokenizer: BytePairTokenizer) -> None:
        self._tokenizer = tokenizer
        self._pieces = tokenizer.pieces
        self._lengths = sorted({*map(len, self._pieces)}, reverse=True)
        self._longest = self._lengths[0]
        self._text = b""
        self._last = [START]
        self._full = 4 * self._longest
        self._fits = lru_cache(2**8)(self._is_encoding)

    def feed(self, text: str) -> Iterator[int]:
        """The ids that are certain now. Raises ValueError if `text` holds a lone surrogate."""
        self._text += utf8(text)
        for end in range(len(self._last), len(self._text) + 1):
            self._last.append(self._last_token(end))
        if len(self._text) >= self._full:
            yield from self._take(self._meeting_place())
            self._full = max(4 * self._longest, 2 * len(self._text))

    def finish(self) -> Iterator[int]:
        """The remaining ids: the pre-token ends here."""
        yield from self._take(len(self._text))

    def _last_token(self, end: int) -> int:
        for length in self._lengths:
            token = self._tokenizer.id_of_piece.get(self._text[end - length : end])
            if length <= end and token is not None and self._fits(self._last[end - length], token):
                return token
        raise AssertionError(f"{self._text[:end]!r} has no encoding")

    def _is_encoding(self, left: int, right: int) -> bool:
        ids = [right] if left == START else [left, right]
        return self._tokenizer.encode_bytes(b"".join(self._pieces[i] for i in ids)) == ids

    def _meeting_place(self) -> int:
        end = len(self._text)
        places = {*range(end - self._longest + 1, end + 1)}
        while len(places) > 1:
            places.remove(place := max(places))
            places.add(self._before(place))
        return places.pop()

    def _before(self, place: int) -> int:
        return place - len(self._pieces[self._last[place]])

    def _take(self, place: int) -> list[int]:
        """The ids of what is held up to `place`, which is then forgotten."""
        ids, start = [], place
        while start > 0:
            ids.append(self._last[start])
            start = self._before(start)
        self._text, self._last = self._text[place:], self._last[place:]
        return ids[::-1]
