"""One query that the reader drags among a few keys, and the mixture of values that it fetches."""

import math

import torch
import traitlets

from tutor_lib.attention.core import scaled_dot_product_attention
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import box, svg, text

# A key and its value, x and y of each.
PAIRS = [
    [2.0, 0.5, 3.0, 2.0],
    [0.5, 2.0, -2.0, 3.0],
    [-2.0, 1.0, -3.0, -2.0],
    [0.0, -2.0, 2.0, -3.0],
]


class DragQuery(Demo):
    """Attention in two dimensions, small enough to draw: softmax(q kᵀ / √2) v.

    The query has a `length` and an `angle` in degrees, counted from the right, anticlockwise.
    Each of `pairs` is a key and its value, as four numbers: points in two separate planes.

    Raises TraitError for a length outside 0…4, or a pair that is not four numbers.
    """

    length = traitlets.Float(1.5, min=0.0, max=4.0).tag(sync=True)
    angle = traitlets.Float(35.0, min=0.0, max=360.0).tag(sync=True)
    pairs = traitlets.List(
        traitlets.List(traitlets.Float(), minlen=4, maxlen=4), PAIRS, minlen=1
    ).tag(sync=True)

    def mixture(self) -> tuple[list[float], list[float]]:
        """The mixed value and the weights, computed by `tutor_lib`."""
        turned = math.radians(self.angle)
        q = self.length * torch.tensor([[math.cos(turned), math.sin(turned)]])
        k, v = torch.tensor(self.pairs).split(2, dim=1)
        mixed, weights = scaled_dot_product_attention(q[None, None], k[None, None], v[None, None])
        return mixed.flatten().tolist(), weights.flatten().tolist()

    def picture(self) -> str:
        """The weight of each key for the query as it stands."""
        mixed, weights = self.mixture()
        shapes = [text(0, 18, f"query of length {self.length:g}, angle {self.angle:g}°", "q")]
        for i, weight in enumerate(weights):
            y = 24 * i + 30
            shapes.append(text(0, y + 14, f"key {i + 1}", "k"))
            shapes.append(box(60, y + 2, 240 * weight + 1, 16, "var(--td-accent)"))
            shapes.append(text(70 + 240 * weight, y + 14, f"{100 * weight:.1f} %", "muted"))
        found = f"mixed value ({mixed[0]:.2f}, {mixed[1]:.2f})"
        shapes.append(text(0, 24 * len(weights) + 48, found, "v"))
        return svg(390, 24 * len(weights) + 60, "A query, its weights and the mixed value", shapes)
