"""The causal mask on real scores: before the softmax, where it belongs, and after it."""

import torch
import traitlets

from tutor_lib.attention.core import causal_mask
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, heat, svg, text
from tutor_lib.demos.reading import OneHead, first_tokens
from tutor_lib.demos.weights import storyteller
from tutor_lib.inside.trace import values_of

PRESETS = {
    "a cat": "The cat sat on the mat",
    "a dog": "The dog saw a cat and",
    "cats": "The cats by the box are",
}


class Mask(OneHead, Demo):
    """The scores of one head, and its weights masked before and after the softmax.

    `query` is the row whose numbers are listed. `bet` is the row that the reader expects to come
    out unharmed (0 first, 1 middle, 2 last, 3 none; -1: nothing yet, which hides the weights).
    `divide` divides each wrongly masked row by its sum. A position past the text's end becomes
    its last in the browser.

    Raises TraitError for a layer or head that the storyteller does not have, or a long text.
    """

    text = traitlets.Unicode(PRESETS["a cat"]).tag(sync=True)
    layer = traitlets.Int(2, min=0).tag(sync=True)
    head = traitlets.Int(1, min=0).tag(sync=True)
    query = traitlets.Int(1, min=0).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=3).tag(sync=True)
    divide = traitlets.Int(0, min=0, max=1).tag(sync=True)
    max_tokens = traitlets.Int(7, min=1).tag(sync=True)
    max_length = traitlets.Int(80, min=1).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    def picture(self) -> str:
        """The weights of each row, masked before the softmax, with the row's sum."""
        model = storyteller()[0]
        ids, names = first_tokens(self.text, self.max_tokens)
        at = f"blocks.{self.layer}.attention"
        found = values_of(model, torch.tensor([ids]), [f"{at}.q", f"{at}.k"])
        q, k = found[f"{at}.q"][0, self.head], found[f"{at}.k"][0]
        scores = q @ k[self.head * len(k) // model.config.n_heads].T / q.size(-1) ** 0.5
        weights = scores.masked_fill(~causal_mask(len(ids)), -torch.inf).softmax(dim=-1)
        left, cell = CHARACTER * max(map(len, names)) + 10, 40
        shapes = []
        for t, name in enumerate(names):
            y = 28 * t
            shapes.append(text(left - 8, y + 18, name, "q", 'text-anchor="end"'))
            for s, share in enumerate(weights[t, : t + 1].tolist()):
                shapes.append(box(left + cell * s, y, cell - 1, 27, heat(0.4 * share)))
                shapes.append(text(left + cell * s + 3, y + 18, f"{share:.2f}"))
        label = f"Masked attention weights of layer {self.layer}, head {self.head}"
        return svg(max(left + cell * len(ids), 220), max(28 * len(ids), 44), label, shapes)
