"""Text to tokens: the pieces, their ids, and how they were made, by three algorithms."""

from typing import Any

import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, svg, text, visible
from tutor_lib.demos.subwords import unigram, wordpiece
from tutor_lib.demos.weights import storyteller
from tutor_lib.tokenize.bpe import BytePairTokenizer
from tutor_lib.tokenize.unigram import UnigramTokenizer
from tutor_lib.tokenize.wordpiece import WordPieceTokenizer

PRESETS = {
    "a sentence": "The cat sat on the mat because it was tired.",
    "leading space": "cat cat  cat   cat",
    "cats and rats": "the cat sat on the mat, the rat sat on the cat, and that was that",
    "an unknown word": "unbelievably",
    "CAPITALS": "the rabbit The Rabbit THE RABBIT",
    "digits": "7 42 1234 3.14159",
    "accents": "naïve café, déjà vu",
    "emoji": "a cat 🐈 and a heart ❤️",
    "other scripts": "кот, γάτα, 猫, बिल्ली",
}
BPE, WORDPIECE, UNIGRAM = range(3)


class Tokenizer(Demo):
    """Type text, see its tokens, and how one word became them; or learn merges from the text.

    `text` is what the reader typed and `ids` what it became; `word` is the chosen word and
    `step` the number of its merges done. `algorithm` is 0 for byte-pair encoding with the
    storyteller's own merges, 1 for WordPiece and 2 for Unigram. `train` is 1 where the reader
    bets on the merges that byte-pair encoding learns from `text`; `learned` counts them.
    """

    text = traitlets.Unicode(PRESETS["a sentence"]).tag(sync=True)
    ids = traitlets.List(traitlets.Int()).tag(sync=True)
    word = traitlets.Int(0, min=0).tag(sync=True)
    step = traitlets.Int(0, min=0).tag(sync=True)
    algorithm = traitlets.Int(BPE, min=BPE, max=UNIGRAM).tag(sync=True)
    train = traitlets.Int(0, min=0, max=1).tag(sync=True)
    learned = traitlets.Int(0, min=0).tag(sync=True)
    merges = traitlets.List(traitlets.List(traitlets.Int(), minlen=2, maxlen=2)).tag(sync=True)
    wordpieces = traitlets.List(traitlets.Unicode()).tag(sync=True)
    unigrams = traitlets.List(traitlets.Tuple(traitlets.Unicode(), traitlets.Float())).tag(
        sync=True
    )

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    @traitlets.default("merges")
    def _storyteller_merges(self) -> list[list[int]]:
        return [list(pair) for pair in storyteller()[1].merges]

    @traitlets.default("wordpieces")
    def _wordpieces(self) -> list[str]:
        return wordpiece().pieces

    @traitlets.default("unigrams")
    def _unigrams(self) -> list[tuple[str, float]]:
        return unigram().pieces

    @property
    def tokenizer(self) -> BytePairTokenizer | WordPieceTokenizer | UnigramTokenizer:
        """The tokenizer that cuts the text."""
        if self.algorithm == WORDPIECE:
            return WordPieceTokenizer(self.wordpieces)
        if self.algorithm == UNIGRAM:
            return UnigramTokenizer(self.unigrams)
        return BytePairTokenizer((left, right) for left, right in self.merges)

    @traitlets.default("ids")
    def _first_ids(self) -> list[int]:
        return self.tokenizer.encode(self.text)

    @traitlets.observe("text", "merges", "algorithm")
    def _encode(self, change: Any) -> None:
        self.ids = self.tokenizer.encode(self.text)

    def _shown(self) -> list[str]:
        if isinstance(tokenizer := self.tokenizer, BytePairTokenizer):
            return [visible(tokenizer.token_bytes(i)) for i in self.ids]
        if isinstance(tokenizer, WordPieceTokenizer):
            return [tokenizer.pieces[i] for i in self.ids]
        return [tokenizer.pieces[i][0] for i in self.ids]

    def picture(self) -> str:
        """The tokens in boxes, their ids below."""
        x = y = 0.0
        shapes = []
        for i, (token, shown) in enumerate(zip(self.ids, self._shown(), strict=True)):
            width = CHARACTER * max(len(shown), len(str(token))) + 12
            if x + width > 640:
                x, y = 0.0, y + 52
            share = 15 if i % 2 else 27
            fill = f"color-mix(in srgb,var(--td-token) {share}%,var(--td-surface))"
            shapes.append(box(x, y, width, 44, fill, 'rx="5"'))
            shapes.append(text(x + 6, y + 19, shown))
            shapes.append(text(x + 6, y + 36, str(token), "muted", 'font-size="11"'))
            x += width + 4
        label = f"The text “{self.text}” as {len(self.ids)} tokens with their ids"
        return svg(640, y + 46, label, shapes)
