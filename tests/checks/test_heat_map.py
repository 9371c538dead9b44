"""The heat map's check: it reads the picture, whatever drew it, and names what is wrong."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest

from tests.checks.answers.attention import RIGHT, picture_mesh
from tutor_lib.checks.attention.heat_map import plot_weights

mpl.use("Agg")


def good(weights, tokens, draw=None):
    axes = plt.figure().subplots()
    axes.imshow(weights)
    axes.set_xticks(range(len(tokens)), tokens, rotation=90)
    axes.set_yticks(range(len(tokens)), tokens)
    axes.set(xlabel="keys", ylabel="queries (query)")
    return axes


def with_colour_bar(weights, tokens):
    axes = good(weights, tokens)
    plt.colorbar(axes.get_images()[0])
    return axes


@pytest.mark.parametrize("draw", [good, with_colour_bar, *RIGHT["plot_weights"]])
def test_right_pictures_pass(draw):
    told = plot_weights.diagnose(draw)
    assert told is None, told
    assert plt.get_fignums() == []  # nothing is left for Jupyter to show


def changed(change):
    def draw(weights, tokens):
        axes = good(weights, tokens)
        change(axes, weights, tokens)
        return axes

    return draw


WRONG = {
    "returned None": lambda weights, tokens: None,
    "should return the Axes": lambda weights, tokens: good(weights, tokens).figure,
    "hold 0": lambda weights, tokens: plt.figure().subplots(),
    "transposed": lambda weights, tokens: good(weights.T, tokens),
    "upside down": changed(lambda a, w, t: a.invert_yaxis()),
    "shows other numbers": lambda weights, tokens: good(weights * 2, tokens),
    "the x axis do not stand": changed(lambda a, w, t: a.set_xticks(range(len(t)), [*t[1:], t[0]])),
    "on the y axis are in reverse": changed(lambda a, w, t: a.set_yticks(range(len(t)), t[::-1])),
    "shows none of the tokens": changed(lambda a, w, t: a.set_xticks(range(len(t)), range(len(t)))),
    "chooses its own ticks": changed(lambda a, w, t: a.set_yticks(range(0, len(t), 2), t[::2])),
    "says 'key'; it says ''": changed(lambda a, w, t: a.set(xlabel="")),
    "says 'query'": changed(lambda a, w, t: a.set(ylabel="position")),
    "changed places": changed(lambda a, w, t: a.set(xlabel="query", ylabel="key")),
    "raised ZeroDivisionError": changed(lambda a, w, t: 1 / 0),
}


@pytest.mark.parametrize("told", WRONG)
def test_wrong_pictures_are_told_apart(told):
    message = plot_weights.diagnose(WRONG[told])
    assert message is not None
    assert told in message


def test_labels_without_tick_positions():
    """set_xticklabels alone labels the ticks that happen to be there; a frequent surprise."""

    def draw(weights, tokens):
        axes = good(weights, tokens)
        axes.xaxis.set_major_locator(mpl.ticker.AutoLocator())
        axes.set_xticklabels([*tokens, *["?"] * 9][: len(axes.get_xticks())])
        return axes

    assert "chooses its own ticks" in plot_weights.diagnose(draw)


def test_labels_at_the_edges_of_a_meshs_cells():
    """pcolormesh draws cell i from i to i + 1: a tick at i stands between two cells."""

    def draw(weights, tokens):
        axes = picture_mesh(weights, tokens)
        axes.set(xticks=range(len(tokens)), xticklabels=tokens)
        return axes

    assert "at the middle of its row or column" in plot_weights.diagnose(draw)


@pytest.mark.parametrize(("only", "seen"), [("numpy", "Tensor"), ("torch", "ndarray")])
def test_arrays_and_tensors_are_both_drawn(only, seen):
    """The first head's weights are NumPy's, all later ones PyTorch's."""

    def draw(weights, tokens):
        at_home = isinstance(weights, np.ndarray) == (only == "numpy")
        assert at_home, "of the other kind"
        return good(weights, tokens)

    told = plot_weights.diagnose(draw)
    assert f"Called with a {seen} of shape" in told
    assert "of the other kind" in told
