"""Text of any length to token ids, as it comes: the ids of the whole, in constant memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import regex

from tutor_lib.tokenize.bpe import BytePairTokenizer
from tutor_lib.tokenize.bpe_fast import Memo
from tutor_lib.tokenize.incremental import IncrementalEncoder
from tutor_lib.tokenize.pretokenize import pretokenize

CHUNK = 2**12  # characters
MEMO_BYTES = 2**19

# A pre-token that ends this many characters before the end of the text so far is whole: to tell
# "'" from "'re" takes the two characters after it, all else takes one.
LOOKAHEAD = 2

# GPT-2's pattern past the first characters of a pre-token: more of the same kind.
SPACES = regex.compile(r"\s+")
KINDS = [SPACES, *map(regex.compile, (r"\p{L}+", r"\p{N}+", r"[^\s\p{L}\p{N}]+"))]


def encode_file(tokenizer: BytePairTokenizer, path: str | Path) -> Iterator[int]:
    """The ids of `tokenizer.encode` on the text of a UTF-8 file, one by one.

    Takes under a megabyte for a file of any size with words of any size, if no piece of the
    vocabulary has tens of thousands of bytes. Line ends stay as they are.

    Raises ValueError if the file is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            yield from encode_chunks(tokenizer, iter(lambda: file.read(CHUNK), ""))
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise ValueError(f"{path} is not UTF-8: byte {byte:#x}, {error.reason}") from error


def encode_chunks(tokenizer: BytePairTokenizer, chunks: Iterable[str]) -> Iterator[int]:
    """The ids of `tokenizer.encode` on the text that the chunks make together.

    Raises ValueError if it holds a lone surrogate.
    """
    ordinary = OrdinaryStream(tokenizer)
    for part, is_special in tokenizer.special.split_stream(chunks):
        if is_special:
            yield from ordinary.finish()
            yield tokenizer.special_ids[part]
        else:
            yield from ordinary.feed(part)
    yield from ordinary.finish()


def encode_ordinary_chunks(tokenizer: BytePairTokenizer, chunks: Iterable[str]) -> Iterator[int]:
    """The ids of `tokenizer.encode_ordinary`, which sees no special tokens, on the same.

    Raises ValueError if the text holds a lone surrogate.
    """
    ordinary = OrdinaryStream(tokenizer)
    for chunk in chunks:
        yield from ordinary.feed(chunk)
    yield from ordinary.finish()


class OrdinaryStream:
    """Encodes text that comes in parts; holds back what the next part may still change.

    A pre-token longer than a chunk is encoded as it comes, too.
    """

    def __init__(self, tokenizer: BytePairTokenizer) -> None:
        self._tokenizer = tokenizer
        self._memo = Memo(tokenizer.encode_pretoken, MEMO_BYTES)
        self._held = ""
        self._run: IncrementalEncoder | None = None

    def feed(self, text: str) -> Iterator[int]:
        """The ids that are certain after `text`."""
        self._held += text
        if self._run:
            yield from self._feed_run(self._run)
        if not self._run:
            yield from self._feed_words()

    def finish(self) -> Iterator[int]:
        """The other ids: the text ends here."""
        if self._run:
            yield from self._run.feed(self._held)
            yield from self._run.finish()
        else:
            yield from self._encode(pretokenize(self._held))
        self._held, self._run = "", None

    def _feed_words(self) -> Iterator[int]:
        words, kept, first = pretokenize(self._held), 0, ""
        while words and kept < LOOKAHEAD:
            kept += len(first := words.pop())
        self._held = self._held[len(self._held) - kept :]
        yield from self._encode(words)
        if len(first) > CHUNK:
            self._run = IncrementalEncoder(self._tokenizer)
            self._kind = next(kind for kind in KINDS if kind.match(first[-1]))
            yield from self._run.feed(first[:-1])
            self._held = self._held[len(first) - 1 :]
            yield from self._feed_run(self._run)

    def _feed_run(self, run: IncrementalEncoder) -> Iterator[int]:
        more = self._kind.match(self._held)
        stop = more.end() if more else 0
        ended = stop < len(self._held)
        if self._kind is SPACES:
            stop -= 1  # the last one goes to the word after it, if there is one
        yield from run.feed(self._held[:stop])
        self._held = self._held[stop:]
        if ended:
            yield from run.finish()
            self._run = None

    def _encode(self, words: list[str]) -> Iterator[int]:
        for word in words:
            yield from self._memo[word]
