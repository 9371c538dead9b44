"""Small SVG pictures for readers without JavaScript, in the colours of the demos."""

from collections.abc import Iterable, Sequence
from html import escape

Number = int | float

_FONT = "font-family:ui-monospace,Menlo,Consolas,monospace"
CHARACTER = 8.4  # the width of one monospaced character at 14 px


def svg(width: Number, height: Number, label: str, shapes: Iterable[str]) -> str:
    """An SVG picture that a screen reader names by `label`."""
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" role="img" '
        f'aria-label="{escape(label)}" style="{_FONT};font-size:14px">{"".join(shapes)}</svg>'
    )


def text(x: Number, y: Number, content: str, colour: str = "ink", more: str = "") -> str:
    """A line of text whose baseline begins at (x, y)."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" style="fill:var(--td-{colour});white-space:pre" '
        f"{more}>{escape(content)}</text>"
    )


def box(x: Number, y: Number, width: Number, height: Number, fill: str, more: str = "") -> str:
    """A rectangle with a CSS colour as its fill."""
    size = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {size} style="fill:{fill}" {more}/>'


def heat(share: Number) -> str:
    """The colour of a share between 0 and 1, as the demos mix it."""
    return f"color-mix(in srgb,var(--td-heat-high) {100 * share:.0f}%,var(--td-heat-low))"


def signed(share: Number) -> str:
    """The colour of a share between -1 and 1: one hue below zero, one above, paper at zero."""
    name = "negative" if share < 0 else "positive"
    return f"color-mix(in srgb,var(--td-{name}) {100 * min(abs(share), 1):.0f}%,var(--td-paper))"


def visible(token: bytes) -> str:
    """One token's bytes as a reader can see them: ␣ for a space, hexadecimal for half a letter."""
    try:
        shown = token.decode("utf-8")
    except UnicodeDecodeError:
        return " ".join(f"{byte:02X}" for byte in token)
    return shown.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")


def bar_chart(label: str, rows: Sequence[tuple[str, float]]) -> str:
    """Horizontal bars of shares, each with its name and its percentage."""
    left = CHARACTER * max(len(name) for name, _ in rows) + 16
    shapes = []
    for i, (name, share) in enumerate(rows):
        y = 24 * i
        shapes.append(text(0, y + 16, name))
        shapes.append(box(left, y + 4, 360 * share + 1, 16, "var(--td-accent)", 'rx="3"'))
        shapes.append(text(left + 368 * share + 8, y + 16, f"{100 * share:.1f} %", "muted"))
    return svg(left + 440, 24 * len(rows) + 4, label, shapes)
