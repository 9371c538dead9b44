"""Text to tokens: the pieces, their ids, and the merges that made them."""

from typing import Any

import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, svg, text, visible
from tutor_lib.demos.weights import storyteller
from tutor_lib.tokenize.bpe import BytePairTokenizer

PRESETS = {
    "a sentence": "The cat sat on the mat because it was tired.",
    "leading space": "cat cat  cat   cat",
    "an unknown word": "unbelievably",
    "digits": "7 42 1234 3.14159",
    "accents": "naïve café, déjà vu",
    "emoji": "a cat 🐈 and a heart ❤️",
}


class Tokenizer(Demo):
    """Type text, see its tokens, and step through the merges of one word.

    `text` is what the reader typed and `ids` what it became; `word` is the chosen word and
    `step` the number of its merges done. The merges are the storyteller's own.
    """

    text = traitlets.Unicode(PRESETS["a sentence"]).tag(sync=True)
    ids = traitlets.List(traitlets.Int()).tag(sync=True)
    word = traitlets.Int(0, min=0).tag(sync=True)
    step = traitlets.Int(0, min=0).tag(sync=True)
    merges = traitlets.List(traitlets.List(traitlets.Int(), minlen=2, maxlen=2)).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    @traitlets.default("merges")
    def _storyteller_merges(self) -> list[list[int]]:
        return [list(pair) for pair in storyteller()[1].merges]

    @property
    def tokenizer(self) -> BytePairTokenizer:
        """The tokenizer that `merges` make."""
        return BytePairTokenizer((left, right) for left, right in self.merges)

    @traitlets.default("ids")
    def _first_ids(self) -> list[int]:
        return self.tokenizer.encode(self.text)

    @traitlets.observe("text", "merges")
    def _encode(self, change: Any) -> None:
        self.ids = self.tokenizer.encode(self.text)

    def picture(self) -> str:
        """The tokens in boxes, their ids below."""
        tokenizer = self.tokenizer
        x = y = 0.0
        shapes = []
        for i, token in enumerate(self.ids):
            shown = visible(tokenizer.token_bytes(token))
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
