"""Why 1/√D: random scores spread as the head grows, and softmax turns them into all or nothing."""

import torch
import traitlets

from tutor_lib.attention.core import scaled_dot_product_attention
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import box, svg, text

KEYS = 16


class HeadSize(Demo):
    """A random query and sixteen random keys, whose head size D the reader raises.

    All numbers are drawn from a standard normal distribution. `power` is the logarithm of D to
    base 2; `seed` chooses the draw; `bet` is what the reader expects (-1: nothing yet, which
    keeps the slider away).
    """

    power = traitlets.Int(1, min=1, max=10).tag(sync=True)
    seed = traitlets.Int(1, min=0, max=2**32 - 1).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=2).tag(sync=True)

    def largest_weights(self, draws: int = 64) -> list[tuple[int, float, float]]:
        """D, and the largest of 16 weights without and with 1/√D, on average over draws."""
        generator = torch.Generator().manual_seed(self.seed)
        rows = []
        for size in (4, 16, 64, 256, 1024):
            q = torch.randn(draws, 1, 1, size, generator=generator)
            k = torch.randn(draws, 1, KEYS, size, generator=generator)
            # Queries √D times as long undo the division.
            weights = [scaled_dot_product_attention(x, k, k)[1] for x in (q * size**0.5, q)]
            without, scaled = (w.amax(dim=-1).mean().item() for w in weights)
            rows.append((size, without, scaled))
        return rows

    def picture(self) -> str:
        """The largest weight at five head sizes, without and with the division."""
        shapes = [text(0, 16, "largest of 16 weights: without 1/√D", "muted")]
        shapes.append(text(330, 16, "with 1/√D", "accent"))
        for i, (size, without, scaled) in enumerate(self.largest_weights()):
            y = 26 * i + 28
            shapes.append(text(0, y + 15, f"D = {size}"))
            for x, share, colour in ((90, without, "muted"), (330, scaled, "accent")):
                shapes.append(box(x, y + 2, 150 * share + 1, 16, f"var(--td-{colour})"))
                shapes.append(text(x + 158 * share + 6, y + 15, f"{100 * share:.0f} %", "muted"))
        return svg(540, 166, "The largest weight as the head size grows", shapes)
