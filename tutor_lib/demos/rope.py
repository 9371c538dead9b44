"""RoPE: two vectors that turn with their positions, and a score that sees their distance alone."""

from functools import cache
from typing import Any

import torch
import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import svg, text
from tutor_lib.demos.weights import storyteller
from tutor_lib.embed.rope import rope_angles, rotate
from tutor_lib.inside.trace import values_of

SENTENCE = "The cat sat on the mat because it was tired"
QUERY, KEY = 9, 1  # "tired" asks "cat"
HEADS = {"a sharp head": (0, 3), "a wide head": (1, 0)}  # layer and head
STRETCH = 4  # how many times the trained context the positions reach


@cache
def vectors() -> list[dict[str, Any]]:
    """Queries and keys before rotation: of two real heads on one sentence, and all ones."""
    model, tokenizer = storyteller()
    found = []
    for name, (layer, head) in HEADS.items():
        points = [f"blocks.{layer}.attention.{x}_proj" for x in "qk"]
        q, k = values_of(model, torch.tensor([tokenizer.encode(SENTENCE)]), points).values()
        size = model.config.d_model // model.config.n_heads
        group = model.config.n_heads // model.config.n_kv_heads
        q, k = (x[0].unflatten(-1, (-1, size)) for x in (q, k))
        query, key = q[QUERY, head].tolist(), k[KEY, head // group].tolist()
        found.append({"name": name, "layer": layer, "head": head, "q": query, "k": key})
    return [*found, {"name": "all ones", "q": [1.0] * size, "k": [1.0] * size}]


class Rope(Demo):
    """A query and a key of the storyteller that the reader moves along the text.

    `vectors` has the queries and keys, `chosen` says which. `pair` is the pair of numbers that is
    drawn. `long` is 1 for `stretch` times as many positions as in training. `scaling` is 0 for the
    trained frequencies, 1 for linear, 2 for NTK, 3 for YaRN.
    """

    vectors = traitlets.List(traitlets.Dict()).tag(sync=True)
    chosen = traitlets.Int(0, min=0, max=2).tag(sync=True)
    query_position = traitlets.Int(9, min=0).tag(sync=True)
    key_position = traitlets.Int(5, min=0).tag(sync=True)
    pair = traitlets.Int(3, min=0).tag(sync=True)
    scaling = traitlets.Int(0, min=0, max=3).tag(sync=True)
    long = traitlets.Int(0, min=0, max=1).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=2).tag(sync=True)
    base = traitlets.Float().tag(sync=True)
    context_length = traitlets.Int().tag(sync=True)
    heads = traitlets.Int().tag(sync=True)
    stretch = traitlets.Int(STRETCH, min=1).tag(sync=True)

    @traitlets.default("vectors")
    def _vectors(self) -> list[dict[str, Any]]:
        return vectors()

    @traitlets.default("base")
    def _base(self) -> float:
        return storyteller()[0].config.rope_base

    @traitlets.default("context_length")
    def _context_length(self) -> int:
        return storyteller()[0].config.context_length

    @traitlets.default("heads")
    def _heads(self) -> int:
        return storyteller()[0].config.n_heads

    def picture(self) -> str:
        """The score over the distance."""
        q, k = (torch.tensor(self.vectors[self.chosen][name]) for name in "qk")
        turned = rotate(
            q.expand(self.context_length, -1), rope_angles(self.context_length, len(q), self.base)
        )
        scores = (turned @ k / len(q) ** 0.5).tolist()
        low, span = min(scores), max(scores) - min(scores)
        points = [f"{30 + 3 * d},{150 - 130 * (s - low) / span:.1f}" for d, s in enumerate(scores)]
        curve = (
            f'<polyline points="{" ".join(points)}" '
            'style="fill:none;stroke:var(--td-accent);stroke-width:2"/>'
        )
        last = self.context_length - 1
        shapes = [curve, text(30, 172, "distance 0", "muted"), text(380, 172, str(last), "muted"),
                  text(30, 14, f"score: from {low:.1f} to {max(scores):.1f}", "muted")]  # fmt: skip
        return svg(430, 180, "The RoPE score of a query and a key over their distance", shapes)
