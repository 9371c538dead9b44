"""Figures in the book's colours.

`use_style()` once in a chapter, then plain Matplotlib. The figure is an SVG without a background;
in the book it becomes part of the page (inline_svg.py), so that its colours follow the page's
theme. In JupyterLab it shows in the light theme's colours.
"""

import re
from pathlib import Path

import matplotlib as mpl
from cycler import cycler
from matplotlib.colors import LinearSegmentedColormap, to_rgb

STYLESHEET = Path(__file__).parent / "static" / "colours.css"


def read_colours() -> dict[str, str]:
    """The light theme's colours by name, as `colours.css` gives them: {"q": "#003f87", …}."""
    light = STYLESHEET.read_text(encoding="utf-8").split("}")[0]
    return dict(re.findall(r"--tutor-([\w-]+):\s*(#[0-9a-f]{6})", light))


COLOURS = read_colours()


def heat() -> LinearSegmentedColormap:
    """A colour map from nothing to the strong heat colour, for `pcolormesh`.

    It grows in opacity, not from colour to colour, so that it reads on a light and a dark page.
    """
    strong = to_rgb(COLOURS["heat-high"])
    return LinearSegmentedColormap.from_list("tutor-heat", [(*strong, 0.0), (*strong, 1.0)])


def use_style() -> None:
    """Give the figures that follow the book's colours, and draw them as SVG."""
    ink, muted, line = COLOURS["ink"], COLOURS["muted"], COLOURS["line"]
    roles = [COLOURS[role] for role in ("q", "k", "v", "token")]
    mpl.rcParams.update(
        {
            "axes.edgecolor": muted,
            "axes.facecolor": "none",
            "axes.grid": False,
            "axes.labelcolor": ink,
            # Lines differ in stroke as well as in colour.
            "axes.prop_cycle": cycler(color=roles) + cycler(linestyle=["-", "--", "-.", ":"]),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlecolor": ink,
            "axes.titlesize": "medium",
            "figure.constrained_layout.use": True,
            "figure.facecolor": "none",
            "figure.figsize": (6.4, 3.2),
            "grid.color": line,
            "legend.frameon": False,
            "lines.linewidth": 2,
            "savefig.facecolor": "none",
            "svg.fonttype": "none",  # text stays text, in the page's font
            "svg.hashsalt": "tutor",  # the same figure is the same file every time
            "text.color": ink,
            "xtick.color": muted,
            "xtick.labelcolor": ink,
            "ytick.color": muted,
            "ytick.labelcolor": ink,
        }
    )
    draw_as_svg()


def draw_as_svg() -> None:
    """Make notebooks show figures as SVG; outside a notebook this changes nothing."""
    from IPython import get_ipython

    if get_ipython():
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg", metadata={"Date": None})
