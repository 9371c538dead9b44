"""Dot products between real vectors: of embeddings, or of one head's queries and keys."""

import torch
import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, svg, text
from tutor_lib.demos.reading import OneHead, first_tokens
from tutor_lib.demos.weights import storyteller

PRESETS = {
    "a dog and a cat": "The dog saw a cat on the mat, so it was tired",
    "it was tired": "The cat sat on the mat because it was tired, so the",
    "is and are": "The cats by the box are red. The cat by the boxes is",
}


class Similarity(OneHead, Demo):
    """Choose a token, bet on the one most like it, and see all dot products.

    `measure` is 0 for the embeddings, 1 for the query of `token` against the keys of `layer` and
    `head`. `other` is the token whose terms are shown; -1 hides the numbers until the reader
    bets. Positions count from 0; one past the text's end becomes its last in the browser.

    Raises TraitError for a layer or head that the storyteller does not have, or a long text.
    """

    text = traitlets.Unicode(PRESETS["a dog and a cat"]).tag(sync=True)
    token = traitlets.Int(1, min=0).tag(sync=True)
    other = traitlets.Int(-1, min=-1).tag(sync=True)
    measure = traitlets.Int(0, min=0, max=1).tag(sync=True)
    max_tokens = traitlets.Int(18, min=1).tag(sync=True)
    max_length = traitlets.Int(200, min=1).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    @torch.no_grad()
    def picture(self) -> str:
        """The dot products of the chosen token's embedding with all others."""
        model = storyteller()[0]
        ids, names = first_tokens(self.text, self.max_tokens)
        vectors = model.embedding.weight[ids]
        token = min(self.token, len(ids) - 1)
        dots = (vectors @ vectors[token]).tolist()
        low, high = min(0.0, *dots), max(0.0, *dots)
        left, scale = CHARACTER * max(map(len, names)) + 16, 320 / ((high - low) or 1)
        shapes = []
        for i, (name, value) in enumerate(zip(names, dots, strict=True)):
            start = left + scale * (min(value, 0.0) - low)
            shapes.append(text(0, 24 * i + 16, name, "token" if i == token else "ink"))
            shapes.append(box(start, 24 * i + 4, scale * abs(value) + 1, 16, "var(--td-accent)"))
            shapes.append(text(left + 330, 24 * i + 16, f"{value:.3f}", "muted"))
        label = f"Dot products of “{names[token]}” with each token of “{self.text}”"
        return svg(left + 400, 24 * len(ids) + 4, label, shapes)
