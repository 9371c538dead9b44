"""Cut text into the chunks that byte-pair merges never cross, and bytes into characters."""

import regex

# Contractions; then words, numbers and other symbols, each with the one space before it;
# then white space. A run of spaces keeps its last one for the word that follows.
# GPT-2's pattern: Radford et al. 2019, §2.2 and the released encoder.
GPT2_PATTERN = regex.compile(
    r"'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)


def pretokenize(text: str) -> list[str]:
    """Split `text` as GPT-2 does; the pieces joined give `text` again.

    >>> pretokenize("The cat's  mat")
    ['The', ' cat', "'s", ' ', ' mat']
    """
    return GPT2_PATTERN.findall(text)


def utf8(text: str) -> bytes:
    """The bytes of `text`. Raises ValueError if it holds a lone surrogate, which has none."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        lone = error.object[error.start]
        raise ValueError(f"{lone!r} is a lone surrogate, which UTF-8 cannot write") from error


def byte_characters() -> list[str]:
    """The 256 printable characters that stand for bytes, in GPT-2's order of token ids.

    A printable Latin-1 byte stands for itself. The other 68 bytes (white space, control
    characters) are shown as the characters from U+0100 on: a space as "Ġ", a newline as "Ċ".
    """
    return [symbol for _, symbol in _byte_table()]


def byte_order() -> list[int]:
    """The byte that each of the first 256 token ids stands for."""
    return [byte for byte, _ in _byte_table()]


def _byte_table() -> list[tuple[int, str]]:
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    shown = [chr(byte) for byte in printable] + [chr(0x100 + i) for i in range(len(hidden))]
    return list(zip(printable + hidden, shown, strict=True))
