"""The look that the experiments' figures share."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Told apart by the colour-blind too: Okabe and Ito 2008.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure of titled panels, two in a row; an odd one at the end has its row to itself."""
    columns, rows = min(2, len(titles)), -(-len(titles) // 2)
    figure = Figure(figsize=(4.6 * columns, 3.6 * rows), layout="constrained")
    grid = figure.add_gridspec(rows, columns)
    cells = [grid[i // 2, i % 2] for i in range(len(titles))]
    if len(titles) % 2:
        cells[-1] = grid[-1, :]
    axes = [figure.add_subplot(cell) for cell in cells]
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, fontsize="medium")
        panel.set_prop_cycle(color=COLOURS)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    return figure, axes
