"""Sinusoidal positions: every number of the pattern, and the dot products of its rows."""

import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import box, signed, svg, text
from tutor_lib.embed.positions import sinusoidal_positions

WIDTHS = (16, 32, 64)


class Positions(Demo):
    """The pattern of sines and cosines as a heat map, its waves, and how alike two positions are.

    `width` is the number in `WIDTHS` of the vectors' size C. The rows are the first `length`
    positions; `position` and `other` are two of them, `column` is one of the C numbers.
    """

    width = traitlets.Int(1, min=0, max=len(WIDTHS) - 1).tag(sync=True)
    length = traitlets.Int(32, min=2, max=128).tag(sync=True)
    position = traitlets.Int(3, min=0).tag(sync=True)
    other = traitlets.Int(7, min=0).tag(sync=True)
    column = traitlets.Int(4, min=0).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=2).tag(sync=True)
    widths = traitlets.List(traitlets.Int(), default_value=list(WIDTHS)).tag(sync=True)

    def picture(self) -> str:
        """The heat map of the pattern."""
        size, cell = WIDTHS[self.width], 9
        shapes = [text(0, 14, "position ↓   number in the vector →", "muted")]
        for t, row in enumerate(sinusoidal_positions(self.length, size).tolist()):
            for i, value in enumerate(row):
                shapes.append(box(cell * i, 24 + cell * t, cell, cell, signed(value)))
        label = f"Sinusoidal positions: {self.length} rows of {size} numbers"
        return svg(max(cell * size, 300), 24 + cell * self.length, label, shapes)
