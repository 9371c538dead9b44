"""Where a translator reads: the cross-attention of a small trained encoder-decoder."""

from functools import cache
from typing import Any

import torch
import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, heat, svg, text
from tutor_lib.experiments.translation import KEPT, cross_weights, load_translator, translate
from tutor_lib.experiments.translation_task import IDS, START, encode, meant
from tutor_lib.model.seq2seq import Transformer

PRESETS = {
    "a gift": "Mia gave Tom a red ball .",
    "a find": "in the garden the cat found a blue key .",
    "a place": "the black dog slept on the bed .",
    "a colour twice": "the red fox found a red hat .",
}


@cache
def translator() -> Transformer:
    """The stored model, read once."""
    return load_translator()


def reading(sentence: str) -> dict[str, Any]:
    """The translation, what each of its words means, and each head's weights (H, T, S) on it.

    Row t of the weights belongs to the query that word t is predicted from: it has read what
    stands before.

    Raises ValueError if the translator does not know a word, or the sentence does not fit.
    """
    source = sentence.split()
    target = translate(translator(), source)
    read = torch.cat((torch.tensor([IDS[START]]), encode(target)[:-1]))
    weights = cross_weights(translator(), encode(source)[None], read[None])[0, 0]
    return {"source": source, "target": target, "meant": meant(source, target),
            "weights": [[[round(w, 6) for w in row] for row in head]
                        for head in weights.tolist()]}  # fmt: skip


class CrossAttention(Demo):
    """A sentence, its translation word by word, and where each head looks for the next word.

    `step` is how many words are shown; `sentence` is English words and a full stop, with spaces
    between them.

    Raises TraitError for a sentence of words that the translator does not know, or a head that
    it does not have.
    """

    PRESET_TRAIT = "sentence"

    sentence = traitlets.Unicode(PRESETS["a gift"]).tag(sync=True)
    head = traitlets.Int(0, min=0, max=KEPT - 1).tag(sync=True)
    step = traitlets.Int(0, min=0).tag(sync=True)
    readings = traitlets.Dict().tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    @traitlets.default("readings")
    def _readings(self) -> dict[str, Any]:
        return {sentence: reading(sentence) for sentence in (*self.presets.values(), self.sentence)}

    @traitlets.validate("sentence")
    def _known(self, proposal: Any) -> str:
        try:
            found = reading(proposal["value"])
        except ValueError as error:
            raise traitlets.TraitError(str(error)) from error
        # Before the sentence: who hears of it looks for its reading.
        self.readings = {**self.readings, proposal["value"]: found}
        return proposal["value"]

    def picture(self) -> str:
        """The heat map of the chosen head, all words shown."""
        found = self.readings[self.sentence]
        source, target = found["source"], found["target"]
        left, top = (CHARACTER * max(map(len, words)) + 12 for words in (target, source))
        cell, shapes = 26, []
        for s, word in enumerate(source):
            upright = f'transform="translate({left + cell * s + 18:.1f} {top - 8:.1f}) rotate(-90)"'
            shapes.append(text(0, 0, word, "k", upright))
        for t, word in enumerate(target):
            at = top + cell * t
            shapes.append(text(left - 8, at + 18, word, "q", 'text-anchor="end"'))
            for s, share in enumerate(found["weights"][self.head][t]):
                shapes.append(box(left + cell * s, at, cell - 1, cell - 1, heat(share)))
        label = f"Cross-attention weights of head {self.head} from “{' '.join(target)}”"
        label += f" to “{self.sentence}”"
        return svg(left + cell * len(source), top + cell * len(target), label, shapes)
