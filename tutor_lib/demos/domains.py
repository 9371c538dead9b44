"""Text, sound, an image and a price series, each cut into tokens."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import box, svg, text

RATE = 4096  # samples of sound a second
SIDE = 32  # pixels of the image's side
SHORTEST, LONGEST = {"sound": 256, "image": SIDE * SIDE, "prices": 20}, 4096
CHORDS = ((3, 7, 10), (-4, 0, 3))  # C major, then F major: semitones above a' = 440 Hz


def chords(
    samples: int = 2048, rate: int = RATE, semitones: Sequence[Sequence[int]] = CHORDS
) -> list[float]:
    """One chord after the other, each of equal sines, 440 · 2^(n/12) Hz, in equal parts."""
    seconds = np.arange(samples) / rate
    parts = np.array_split(seconds, len(semitones))
    sound = [
        sum(np.sin(2 * np.pi * 440 * 2 ** (n / 12) * part) for n in chord) / len(chord)
        for chord, part in zip(semitones, parts, strict=True)
    ]
    return np.concatenate(sound).round(3).tolist()


def shapes(side: int = SIDE) -> list[float]:
    """A bright disk and a grey square on a background that brightens to the right, row by row."""
    y, x = np.mgrid[:side, :side] / side
    image = 0.25 * x
    image[(x - 0.34) ** 2 + (y - 0.36) ** 2 < 0.22**2] = 1.0
    image[(abs(x - 0.7) < 0.17) & (abs(y - 0.68) < 0.17)] = 0.6
    return image.round(3).flatten().tolist()


def simulated_prices(days: int = 240, seed: int = 7) -> list[float]:
    """A random walk of log prices from 100: daily steps with mean 0.05 % and deviation 1.2 %.

    No market is in it: nothing in its past tells its future.
    """
    steps = np.random.default_rng(seed).normal(0.0005, 0.012, days)
    return (100 * np.exp(steps.cumsum())).round(2).tolist()


class Domains(Demo):
    """A domain, what is read of it, and how large its pieces are; the tokens that come of it.

    `domain` counts text, sound, image, prices from 0. `merges`, `frame`, `patch` and `window`
    count the sizes on offer in each, `token` the chosen token; one past the last becomes the last
    in the browser. The image is square, row by row; sound and prices are plain series.

    Raises TraitError for an image that is not `SIDE` · `SIDE` numbers, or a series too short to
    be cut.
    """

    domain = traitlets.Int(0, min=0, max=3).tag(sync=True)
    text = traitlets.Unicode("Once upon a time there was a small red fox.").tag(sync=True)
    sound = traitlets.List(traitlets.Float()).tag(sync=True)
    image = traitlets.List(traitlets.Float()).tag(sync=True)
    prices = traitlets.List(traitlets.Float()).tag(sync=True)
    merges = traitlets.Int(2, min=0, max=2).tag(sync=True)
    frame = traitlets.Int(1, min=0, max=2).tag(sync=True)
    patch = traitlets.Int(1, min=0, max=2).tag(sync=True)
    window = traitlets.Int(1, min=0, max=2).tag(sync=True)
    token = traitlets.Int(0, min=0).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=2).tag(sync=True)
    max_length = traitlets.Int(120, min=1).tag(sync=True)

    @traitlets.default("sound")
    def _chords(self) -> list[float]:
        return chords()

    @traitlets.default("image")
    def _shapes(self) -> list[float]:
        return shapes()

    @traitlets.default("prices")
    def _prices(self) -> list[float]:
        return simulated_prices()

    @traitlets.validate("sound", "image", "prices")
    def _can_be_cut(self, proposal: Any) -> list[float]:
        name, found = proposal["trait"].name, len(proposal["value"])
        if name == "image" and found != SIDE * SIDE:
            raise traitlets.TraitError(f"the image needs {SIDE} · {SIDE} numbers, got {found}")
        if not SHORTEST[name] <= found <= LONGEST:
            raise traitlets.TraitError(
                f"the {name} must have {SHORTEST[name]} to {LONGEST} numbers, got {found}"
            )
        return proposal["value"]

    def picture(self) -> str:
        """The simulated prices, cut into windows."""
        low, high, width = min(self.prices), max(self.prices), 20
        step = 480 / len(self.prices)
        drawn = [
            box(step * at, 8, step * width - 2, 120, "var(--td-heat-low)")
            for at in range(0, len(self.prices) - width + 1, width)
        ]
        points = " ".join(
            f"{step * i:.1f},{124 - 112 * (price - low) / (high - low or 1):.1f}"
            for i, price in enumerate(self.prices)
        )
        drawn.append(f'<polyline points="{points}" style="fill:none;stroke:var(--td-accent)"/>')
        drawn.append(text(0, 148, f"{len(self.prices)} simulated prices, {width} to a token"))
        return svg(480, 156, "Simulated prices, cut into windows: each becomes a token", drawn)
