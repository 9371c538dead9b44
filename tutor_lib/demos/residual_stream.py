"""One token's vector on its way: what every sub-layer adds to the residual stream."""

import torch
import traitlets
from torch import Tensor

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, svg, text, visible
from tutor_lib.demos.weights import storyteller
from tutor_lib.inside.trace import values_of

PRESETS = {
    "it was tired": "The cat sat on the mat because it was tired, so the",
    "it was soft": "The cat sat on the mat because it was soft, so the",
    "a list said again": "Mia said: cat red key. Tom said: cat",
    "is or are": "The cats near the box",
}
WRITTEN = ["embedding", "blocks.*.attention.output", "blocks.*.ffn.output"]


class ResidualStream(Demo):
    """A sentence and one of its tokens; what the embedding, attentions and FFNs wrote to it.

    `position` is the token, `part` the row whose numbers are shown, both from 0; a position
    past the text's end becomes its last one in the browser.
    """

    text = traitlets.Unicode(PRESETS["it was tired"]).tag(sync=True)
    position = traitlets.Int(999, min=0).tag(sync=True)
    part = traitlets.Int(6, min=0).tag(sync=True)
    max_tokens = traitlets.Int(24, min=1).tag(sync=True)
    max_length = traitlets.Int(120, min=1).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    def picture(self) -> str:
        """How long a vector each part writes."""
        model, tokenizer = storyteller()
        ids = tokenizer.encode(self.text)[: self.max_tokens] or [tokenizer.end_of_text_id]
        at = min(self.position, len(ids) - 1)
        written = values_of(model, torch.tensor([ids]), WRITTEN)
        lengths = {_title(name): _length(x[0, at]) for name, x in written.items()}
        scale, left, shapes = 300 / max(lengths.values()), CHARACTER * 12, []
        for i, (name, length) in enumerate(lengths.items()):
            shapes.append(text(0, 24 * i + 16, name))
            shapes.append(box(left, 24 * i + 4, scale * length, 16, "var(--td-accent)"))
            shapes.append(text(left + scale * length + 8, 24 * i + 16, f"{length:.2f}", "muted"))
        token = visible(tokenizer.token_bytes(ids[at]))
        label = f"The length of what each part writes to the stream of “{token}” in “{self.text}”"
        return svg(left + 370, 24 * len(lengths), label, shapes)


def _title(name: str) -> str:
    """`blocks.1.ffn.output` is FFN 1."""
    if name == "embedding":
        return name
    _, layer, part, _ = name.split(".")
    return f"{'FFN' if part == 'ffn' else part} {layer}"


def _length(x: Tensor) -> float:
    return x.norm().item()
