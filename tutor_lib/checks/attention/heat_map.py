"""Read a heat map off its Axes, and tell what is wrong with it.

The picture is first read into plain lists, beside the answer, and then judged.
"""

from collections.abc import Callable
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np
import torch

from tutor_lib.checks import observe
from tutor_lib.checks.compare import close
from tutor_lib.checks.run import Outcome, run

WORDS = ["The", "cat", "sat", "on", "its", "own", "mat"]


@dataclass(frozen=True)
class Picture:
    """A heat map as a reader sees it, from top to bottom and from left to right."""

    values: list[list[float]]
    columns: list[str]  # the label under each column, "" where there is none
    rows: list[str]
    x_label: str
    y_label: str


def read(axes: Any) -> Picture | str:
    """The picture on these Axes, or what keeps it from being a heat map."""
    if not (hasattr(axes, "get_images") and hasattr(axes, "collections")):
        return (
            f"plot_weights returned {type(axes).__name__}, but should return the Axes: the object "
            "whose methods draw and set labels, not the Figure, and not the image."
        )
    images = [*axes.get_images(), *(c for c in axes.collections if hasattr(c, "get_coordinates"))]
    if len(images) != 1:
        return (
            f"The Axes should hold one image, drawn by imshow or the like; they hold {len(images)}."
        )
    is_mesh = hasattr(images[0], "get_coordinates")
    array = images[0].get_array()
    if array.ndim == 1:  # older Matplotlib flattens the values of a mesh
        array = array.reshape([n - 1 for n in images[0].get_coordinates().shape[:2]])
    if array.ndim != 2:
        return f"The image should hold one number a cell, but has shape {tuple(array.shape)}."
    return _picture(axes, np.ma.getdata(array).tolist(), 0.5 if is_mesh else 0.0)


def _picture(axes: Any, values: list[list[float]], centre: float) -> Picture:
    rows = _labels(axes.yaxis, len(values), centre)
    if not axes.yaxis_inverted():  # row 0 is drawn at the bottom
        values, rows = values[::-1], rows[::-1]
    columns = _labels(axes.xaxis, len(values[0]), centre)
    return Picture(values, columns, rows, axes.get_xlabel(), axes.get_ylabel())


def _labels(axis: Any, n: int, centre: float) -> list[str]:
    """The tick label at the centre of each of `n` cells."""
    labels = [""] * n
    for where, tick in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=False):
        cell = round(float(where) - centre)
        if 0 <= cell < n and abs(where - centre - cell) < 0.1:
            labels[cell] = tick.get_text()
    return labels


def judge(picture: Picture, weights: torch.Tensor, tokens: list[str]) -> str | None:
    """What is wrong with the picture of these weights, or None."""
    return _judge_values(torch.tensor(picture.values), weights) or _judge_labels(picture, tokens)


def _judge_values(shown: torch.Tensor, weights: torch.Tensor) -> str | None:
    def shows(expected: torch.Tensor) -> bool:
        return shown.shape == expected.shape and bool(close(expected, shown).all())

    if shows(weights):
        return None
    if shows(weights.T):
        return (
            "Your picture is transposed. Queries are rows, from top to bottom; keys are columns, "
            "from left to right: the matrix as it is."
        )
    if shows(weights.flip(0)):
        return (
            "Your picture is upside down: the first query should be the top row. Turn the y axis "
            "round, or leave the image's origin where imshow puts it."
        )
    return (
        f"The image should show the weights, of shape {tuple(weights.shape)}; yours shows other "
        f"numbers, of shape {tuple(shown.shape)}."
    )


def _judge_labels(picture: Picture, tokens: list[str]) -> str | None:
    for name, labels in (("x", picture.columns), ("y", picture.rows)):
        if labels != tokens:
            return _tell_labels(name, labels, tokens)
    x, y = picture.x_label.lower(), picture.y_label.lower()
    if "quer" in x and "key" in y:
        return "The axis labels have changed places: x runs over the keys, y over the queries."
    if "key" not in x:
        return f"Label the x axis so that it says 'key'; it says {picture.x_label!r}."
    if "quer" not in y:
        return f"Label the y axis so that it says 'query'; it says {picture.y_label!r}."
    return None


def _tell_labels(axis: str, labels: list[str], tokens: list[str]) -> str:
    if labels == tokens[::-1]:
        return f"The tokens on the {axis} axis are in reverse order."
    if not set(labels) & set(tokens):
        return (
            f"The {axis} axis has a tick label for each token to show, at the middle of its row "
            "or column; yours shows none of the tokens."
        )
    at = next(i for i, pair in enumerate(zip(labels, tokens, strict=True)) if pair[0] != pair[1])
    return (
        f"The labels on the {axis} axis do not stand where they belong: at cell {at} there should "
        f"be {tokens[at]!r}, and there is {labels[at]!r}. Matplotlib chooses its own ticks unless "
        "it is told where to put them: one for each token, and then their labels."
    )


@dataclass(frozen=True)
class HeatMap:
    """The exercise of drawing the weights, with the same face as `Part`."""

    name: str
    points: int

    @property
    def lent(self) -> dict[str, Any]:
        """What stands in for the student's other answers: nothing is needed."""
        return {}

    def diagnose(self, student: Callable[..., Any], seed: int = 0) -> str | None:
        """Say what is wrong with an answer in this process, or None if it is right."""
        return self.judge(observe.seeing(student, seed), seed)

    def pictures(self, student: Callable[..., Any], seed: int) -> list[Any]:
        """What the student draws, told plainly. Runs beside the answer."""
        return [drawn(student, weights, tokens).plain() for weights, tokens in _cases(seed)]

    def judge(self, see: observe.See, seed: int = 0) -> str | None:
        """Say what is wrong with the pictures that `see` sees, or None."""
        for told, case in zip(see(self, "pictures"), _cases(seed), strict=True):
            if problem := self._tell(Outcome.told(*told), *case):
                return problem
        return None

    def _tell(self, outcome: Outcome, weights: Any, tokens: list[str]) -> str | None:
        if outcome.error and outcome.error.unwritten:
            return outcome.error.stub(self.name)
        if outcome.error:
            kind, shape = type(weights).__name__, tuple(weights.shape)
            return f"Called with a {kind} of shape {shape}, {tokens}: {outcome.error.where()}"
        if outcome.value is None:
            return "plot_weights returned None. Does it end with a `return` of the Axes?"
        if isinstance(outcome.value, str):
            return outcome.value
        return judge(Picture(*outcome.value), torch.as_tensor(weights), tokens)


def _cases(seed: int) -> list[tuple[Any, list[str]]]:
    """Weights and their tokens: NumPy's arrays come from the first head, tensors from others."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randn(n, n, generator=generator).softmax(-1).tril() for n in (5, 7)]
    return [(drawn[0].numpy(), WORDS[:5]), (drawn[1], WORDS)]


def drawn(student: Callable[..., Any], weights: Any, tokens: list[str]) -> Outcome:
    """The fields of a Picture, or what keeps what is drawn from being a heat map.

    Runs beside the answer: the Axes cannot leave their process.
    """
    import matplotlib.pyplot as plt  # here, because the library itself does not need Matplotlib

    outcome = run(student, (weights, list(tokens)))
    try:
        if outcome.value is None:
            return outcome
        picture = read(outcome.value)
        return Outcome(picture if isinstance(picture, str) else astuple(picture))
    finally:
        plt.close("all")  # else Jupyter shows under the cell what was drawn


def shown(student: Callable[..., Any], weights: Any, tokens: list[str]) -> tuple[Any, ...]:
    """The fields of the Picture that is drawn. For hidden tests.

    Runs beside the answer. Raises ValueError with what keeps it from being a heat map.
    """
    outcome = drawn(student, weights, tokens)
    if not isinstance(outcome.value, tuple):
        raise ValueError(outcome.value or outcome.error)
    return outcome.value


plot_weights = HeatMap("plot_weights", 2)
