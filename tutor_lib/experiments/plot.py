"""The look that the experiments' figures share."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Told apart by the colour-blind too: Okabe and Ito 2008.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def panels(titles: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with one titled panel beside the other."""
    figure = Figure(figsize=(4.6 * len(titles), 3.6), layout="constrained")
    axes = list(figure.subplots(1, len(titles), squeeze=False)[0])
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, fontsize="medium")
        panel.set_prop_cycle(color=COLOURS)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(alpha=0.25)
    return figure, axes
