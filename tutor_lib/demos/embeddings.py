"""The embedding table of the storyteller: rows to look up, neighbours, and word arithmetic."""

import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, signed, svg, text, visible
from tutor_lib.demos.weights import storyteller

# Each was looked up in the table: the first finds a word of the kind one hopes for, the others fail
# or show that the sum does less than it seems to.
SUMS = {
    "one that works": "tired − rabbit + mat",
    "nearly the same": "tired − cat + mat",
    "no relation at all": "bear − cat + red",
    "a name without its space": 'Zoe − "Zoe" + "Hugo"',
}

_SHOWN = 32  # numbers of each row in the still picture
_LIMIT = 0.6  # few numbers of the table are larger: beyond, the colour is full


class Embeddings(Demo):
    """The rows of a sentence's tokens; the nearest rows to a word; a - b + c of three words.

    `ids` are the sentence's, until the reader changes one: `token_id` is that of the chosen `row`.
    `row` counts the sentence's places and `dim` the numbers of a row, from 0. A word stands for its
    token with the space before it; in double quotes for exactly what is quoted. `keep` is 1 if a
    sum may answer with one of its own words.
    """

    PRESET_TRAIT = "sum"

    text = traitlets.Unicode("The cat saw the dog.").tag(sync=True)
    ids = traitlets.List(traitlets.Int(min=0)).tag(sync=True)
    row = traitlets.Int(1, min=0).tag(sync=True)
    token_id = traitlets.Int(0, min=0).tag(sync=True)
    dim = traitlets.Int(0, min=0).tag(sync=True)
    max_tokens = traitlets.Int(10, min=1).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=3).tag(sync=True)
    sum_bet = traitlets.Int(-1, min=-1, max=3).tag(sync=True)
    word = traitlets.Unicode("cat").tag(sync=True)
    sum = traitlets.Unicode(SUMS["one that works"]).tag(sync=True)
    keep = traitlets.Int(0, min=0, max=1).tag(sync=True)
    max_length = traitlets.Int(100, min=1).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return SUMS

    @traitlets.default("ids")
    def _ids_of_the_text(self) -> list[int]:
        return storyteller()[1].encode(self.text)[: self.max_tokens]

    @traitlets.observe("text")
    def _read_again(self, change: object) -> None:
        self.ids = self._ids_of_the_text()

    def picture(self) -> str:
        """The first numbers of each token's row, negative and positive in two colours."""
        model, tokenizer = storyteller()
        names = [visible(tokenizer.token_bytes(i)) for i in self.ids]
        left, cell = CHARACTER * max(map(len, names), default=0) + 12, 14
        shapes = [text(0, 14, "Type a text", "muted")] if not names else []
        for t, (name, i) in enumerate(zip(names, self.ids, strict=True)):
            y = 26 * t
            shapes.append(text(0, y + 16, name, "token"))
            for x, value in enumerate(model.embedding.weight[i, :_SHOWN].tolist()):
                shapes.append(box(left + cell * x, y, cell, 22, signed(value / _LIMIT)))
        label = f"The first {_SHOWN} numbers of each token's row for “{self.text}”"
        return svg(left + cell * _SHOWN, max(26 * len(names), 40), label, shapes)
