"""Who looks at whom: every attention weight of the storyteller, down to its last number."""

from typing import Any

import torch
import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.head_names import measured_heads
from tutor_lib.demos.picture import CHARACTER, box, heat, svg, text
from tutor_lib.demos.reading import OneHead, first_tokens
from tutor_lib.demos.weights import MAX_CHARACTERS, storyteller
from tutor_lib.inside.trace import attention_weights

PRESETS = {
    "it was tired": "The cat sat on the mat because it was tired, so the",
    "it was soft": "The cat sat on the mat because it was soft, so the",
    "tired, but": "The cat sat on the mat because it was tired, but the",
    "a list said again": "Mia said: cat red forest key. Tom said: cat red forest",
    "is or are": "The cats by the box are red. The cat by the boxes",
}


class AttentionMatrix(OneHead, Demo):
    """A sentence, all heads at a glance; one head's T × T weights, and the steps to any of them.

    `layer`, `head`, `query` and `key` count from 0. A position past the text's end becomes its
    last one in the browser.

    Raises TraitError for a layer or head that the storyteller does not have, or a long text.
    """

    text = traitlets.Unicode(PRESETS["it was tired"]).tag(sync=True)
    query = traitlets.Int(MAX_CHARACTERS, min=0).tag(sync=True)
    key = traitlets.Int(1, min=0).tag(sync=True)
    max_tokens = traitlets.Int(48, min=1).tag(sync=True)
    max_length = traitlets.Int(400, min=1).tag(sync=True)
    measured = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)

    @traitlets.default("measured")
    def _measured(self) -> list[dict[str, Any]]:
        return measured_heads()

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    def picture(self) -> str:
        """The heat map of the chosen layer and head."""
        model = storyteller()[0]
        ids, names = first_tokens(self.text, self.max_tokens)
        weights = attention_weights(model, torch.tensor([ids]))[self.layer, 0, self.head]
        left, cell = CHARACTER * max(map(len, names)) + 10, 24
        shapes = []
        for t, name in enumerate(names):
            at = left + cell * t
            upright = f'transform="translate({at + 17:.1f} {left - 8:.1f}) rotate(-90)"'
            shapes.append(text(left - 8, at + 17, name, "q", 'text-anchor="end"'))
            shapes.append(text(0, 0, name, "k", upright))
            for s, share in enumerate(weights[t, : t + 1].tolist()):
                shapes.append(box(left + cell * s, at, cell - 1, cell - 1, heat(share)))
        size = left + cell * len(ids)
        label = f"Attention weights of layer {self.layer}, head {self.head} on “{self.text}”"
        return svg(size, size, label, shapes)
