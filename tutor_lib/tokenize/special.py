"""Special tokens: strings that become one id each, and that no merge may touch."""

from collections.abc import Iterable, Iterator, Sequence

import regex


class SpecialTokens:
    """Finds special tokens in text: the leftmost first, and there the longest.

    So `<|a|><|b|>` wins over `<|a|>` if both are special, as in Hugging Face's added tokens.

    Raises ValueError if one is empty or named twice.
    """

    def __init__(self, names: Sequence[str]) -> None:
        if "" in names or len(set(names)) < len(names):
            raise ValueError(f"special tokens must be distinct and not empty, got {list(names)}")
        self.names = tuple(names)
        self._longest = max(map(len, names), default=1)
        longest_first = sorted(names, key=len, reverse=True)
        # Without a name: a pattern that is found nowhere.
        self._pattern = regex.compile(f"({'|'.join(map(regex.escape, longest_first)) or '(?!)'})")

    def split(self, text: str) -> list[str]:
        """`text` in parts: ordinary, special, ordinary, special, …, ordinary; some are empty."""
        return self._pattern.split(text)

    def split_stream(self, chunks: Iterable[str]) -> Iterator[tuple[str, bool]]:
        """The parts of a text that comes in chunks, each with whether it is special.

        Ordinary text may come in several parts. What could still begin a special token waits
        for the next chunk: fewer characters than the longest one has.
        """
        held = ""
        for chunk in chunks:
            held += chunk
            # A special token that starts before here, and any longer one there, is all in sight.
            decided = len(held) - self._longest + 1
            start = 0
            while (found := self._pattern.search(held, start)) and found.start() < decided:
                yield held[start : found.start()], False
                yield found[0], True
                start = found.end()
            cut = max(start, decided)
            yield held[start:cut], False
            held = held[cut:]
        yield from ((part, bool(i % 2)) for i, part in enumerate(self.split(held)))
