"""Where each part of an architecture stands on its map: boxes, and the lines between them."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tutor_lib.demos.architecture_parts import (
    ARCHITECTURES,
    BOTH,
    DECODER,
    ENCODER,
    Architecture,
    facts,
    length_of,
)

BAR, BOX, PILL, PIPE = 30, 34, 22, 18  # heights, and the width of the residual stream
Point = tuple[float, float]


@dataclass
class Drawing:
    """What is on the map so far: nodes, edges, the shapes beside edges, frames round blocks."""

    nodes: list[dict[str, Any]] = field(default_factory=list)
    edges: list[dict[str, Any]] = field(default_factory=list)
    shapes: list[dict[str, Any]] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)

    def box(self, node: str, label: str, x: float, y: float, width: float, height: float) -> None:
        """A part that can be chosen."""
        size = {"x": x, "y": y, "width": width, "height": height}
        self.nodes.append({"id": node, "label": label, **size})

    def line(
        self, start: str, end: str, *points: Point, kind: str = "", plus: Point | None = None
    ) -> None:
        """A line from what writes to what reads; `plus` is where it is added to the stream."""
        edge = {"from": start, "to": end, "points": points, "kind": kind, "plus": plus}
        self.edges.append(edge)


@dataclass
class Column:
    """One stack, drawn from top to bottom, with its residual stream at one side."""

    drawing: Drawing
    model: Architecture
    left: float
    right: float
    prefix: str = ""
    mirrored: bool = False
    y: float = 4
    caption: float = 0  # the height of the residual stream's name

    def __post_init__(self) -> None:
        inset = 16
        self.stream = self.right - inset if self.mirrored else self.left + inset
        self.near = self.stream + (-14 if self.mirrored else 14)  # where branches may begin
        inner = (self.left + 8, self.near - 4) if self.mirrored else (self.near + 4, self.right - 8)
        self.inner, self.middle = inner, sum(inner) / 2

    def name(self, part: str) -> str:
        """The name of a part in this column."""
        return self.prefix + part

    def bar(self, part: str, label: str, height: float = BAR) -> None:
        """A part as wide as the column."""
        width = self.right - self.left
        self.drawing.box(self.name(part), label, self.left, self.y, width, height)
        self.y += height

    def down(self, start: str, end: str, gap: float = 24, x: float | None = None) -> None:
        """A line down to what comes next."""
        x = self.stream if x is None else x
        ends = (x, self.y), (x, self.y + gap)
        self.drawing.line(self.name(start), self.name(end), *ends)
        self.y += gap

    def shape(self, letters: str, y: float) -> None:
        """The shape of what flows here, in letters."""
        end = "end" if self.mirrored else "start"
        x = self.stream + (-16 if self.mirrored else 16)
        self.drawing.shapes.append({"letters": letters.split(), "x": x, "y": y, "anchor": end})

    def branch(self, part: str, label: str, norm: str) -> None:
        """A part on a branch of the residual stream, with its norm before or after it."""
        if self.model.pre_norm:
            self._from_stream(norm, self.y + PILL / 2)
            left, right = self.inner
            size = right - left, PILL
            self.drawing.box(self.name(norm), self.model.norm_name, left, self.y, *size)
            self.y += PILL
            self._stems(norm, part, self.y, 20)
        else:
            self._stems("residual", part, self.y + 8, 16)
        self._box_and_back(part, label)
        if not self.model.pre_norm:
            self.norm_on_stream(norm)

    def _from_stream(self, part: str, y: float) -> None:
        edge = self.inner[1] if self.mirrored else self.inner[0]
        self.drawing.line(self.name("residual"), self.name(part), (self.stream, y), (edge, y))

    def _stems(self, start: str, part: str, y: float, height: float) -> None:
        """What a part reads: for attention, once for queries, for keys and for values."""
        heads = {"attention": "qkv", "cross": "q"}.get(part, " ")
        y_end = y + height
        for i, kind in enumerate(heads):
            x = self.middle + 26 * (i - (len(heads) - 1) / 2)
            foot = (x, y_end)
            path = [(x, y), foot] if self.model.pre_norm else [(self.stream, y), (x, y), foot]
            self.drawing.line(self.name(start), self.name(part), *path, kind=kind.strip())
        self.y = y_end

    def _box_and_back(self, part: str, label: str) -> None:
        left, right = self.inner
        self.drawing.box(self.name(part), label, left, self.y, right - left, BOX)
        self.y += BOX + 14
        self.caption = self.caption or self.y - 14 - BOX / 2
        self._add(part, (self.middle, self.y - 14), (self.middle, self.y))
        self.y += 16

    def _add(self, part: str, *path: Point) -> None:
        """Add what `part` writes to the stream, at the height where `path` ends."""
        y = path[-1][1]
        end = (self.stream + (-8 if self.mirrored else 8), y)
        ends = self.name(part), self.name("residual")
        self.drawing.line(*ends, *path, end, plus=(self.stream, y))

    def norm_on_stream(self, norm: str) -> None:
        """A norm that stands in the way of the residual stream."""
        left, width = self.left + 8, self.right - self.left - 16
        self.drawing.box(self.name(norm), self.model.norm_name, left, self.y, width, PILL)
        above = (self.stream, self.y - 8), (self.stream, self.y)
        below = (self.stream, self.y + PILL), (self.stream, self.y + PILL + 10)
        self.drawing.line(self.name("residual"), self.name(norm), *above)
        self.drawing.line(self.name(norm), self.name("residual"), *below)
        self.y += PILL + 10

    def positions(self, x: float, width: float) -> None:
        """Positions that are added to the stream."""
        self.drawing.box(self.name("positions"), "Positions", x, self.y, width, 28)
        self._add("positions", (x + width if self.mirrored else x, self.y + 14))
        self.y += 38

    def block(self, parts: list[tuple[str, str, str]]) -> None:
        """One layer in its frame, which says how many there are."""
        top = self.y
        self.y += 20
        for part, label, norm in parts:
            self.branch(part, label, norm)
            self.y += 4
        size = {"x": self.left, "y": top, "width": self.right - self.left, "height": self.y - top}
        x, anchor = (self.left + 10, "start") if self.mirrored else (self.right - 10, "end")
        words = {"label": f"× {self.model.config.n_layers}", "label_x": x, "anchor": anchor}
        self.drawing.frames.append({**size, **words})

    def begin(self, shown: str) -> float:
        """Input and embedding. Returns where the residual stream begins."""
        length = length_of(self.prefix)
        self.bar("input", shown)
        self.shape(f"B {length}", self.y + 16)
        self.down("input", "embedding")
        self.bar("embedding", "Embedding")
        start = self.y
        self.drawing.line(
            self.name("embedding"), self.name("residual"), (self.stream, start),
            (self.stream, start + 8),
        )  # fmt: skip
        self.y += 8
        return start

    def pipe(self, top: float, bottom: float) -> None:
        """The residual stream itself, from `top` to `bottom`."""
        node = self.name("residual")
        self.drawing.box(node, "residual", self.stream - PIPE / 2, top, PIPE, bottom - top)
        self.drawing.nodes[-1]["caption"] = self.caption

    def end(self, stream_top: float) -> None:
        """Unembedding and output."""
        self.shape("B T C", self.y + 16)
        self.y += 8
        self.pipe(stream_top + 8, self.y)
        before = "residual"
        if self.model.pre_norm:
            self.down(before, "last", 16)
            self.bar("last", self.model.norm_name, PILL)
            before = "last"
        self.down(before, "unembedding", 16)
        self.bar("unembedding", "Unembedding")
        self.shape("B T V", self.y + 16)
        self.down("unembedding", "output")
        self.bar("output", "Probabilities")


def _one_stack(model: Architecture) -> tuple[Drawing, float, float]:
    drawing = Drawing()
    column = Column(drawing, model, 18, 222)
    top = column.begin("Tokens")
    column.shape("B T C", column.y + 12)
    column.y += 20
    if not model.rotary:
        column.positions(236, 76)
    if model.kind == ENCODER:
        column.norm_on_stream("norm0")
    looks = "Self-attention" if model.kind == ENCODER else "Causal self-attention"
    column.block([("attention", looks, "norm1"), ("ffn", "FFN", "norm2")])
    column.end(top)
    if model.rotary:
        at = next(node for node in drawing.nodes if node["id"] == "attention")
        drawing.box("positions", "RoPE", 246, at["y"] + 3, 66, 28)
        y = at["y"] + BOX / 2
        drawing.line("positions", "attention", (246, y), (column.inner[1], y))
    if model.kind == DECODER:
        _go_round(drawing, 6, 18, column.y - BAR / 2)
    return drawing, 316, column.y + 4


def _two_stacks(model: Architecture) -> tuple[Drawing, float, float]:
    drawing = Drawing()
    source = Column(drawing, model, 4, 158, "source ")
    top = source.begin("Source")
    source.shape("B S C", source.y + 12)
    source.y += 20
    source.positions(source.inner[0] + 10, 80)
    source.block([("attention", "Self-attention", "norm1"), ("ffn", "FFN", "norm2")])
    source.y += 24
    source.pipe(top + 8, source.y)
    target = Column(drawing, model, 182, 336, mirrored=True)
    top = target.begin("Target")
    target.shape("B T C", target.y + 12)
    target.y += 20
    target.positions(target.inner[1] - 90, 80)
    layer = [("attention", "Causal attention", "norm1"), ("cross", "Cross-attention", "norm3")]
    target.block([*layer, ("ffn", "FFN", "norm2")])
    target.end(top)
    _remember(drawing, source)
    _go_round(drawing, 348, 336, target.y - BAR / 2)
    return drawing, 352, target.y + 4


def _remember(drawing: Drawing, source: Column) -> None:
    """The encoder's result goes over to every layer's cross-attention, as keys and values."""
    cross = next(node for node in drawing.nodes if node["id"] == "cross")
    for i, kind in enumerate("kv"):
        x, foot = 166 + 8 * (1 - i), source.y - 10 * i - 4
        level = cross["y"] + 11 + 12 * i
        path = (source.stream, foot), (x, foot), (x, level), (cross["x"], level)
        drawing.line("source residual", "cross", *path, kind=kind)
    drawing.shapes.append({"letters": ["B", "S", "C"], "x": 36, "y": source.y + 14,
                           "anchor": "start"})  # fmt: skip


def _go_round(drawing: Drawing, x: float, edge: float, y: float) -> None:
    """The token drawn is appended to the input."""
    up = (edge, y), (x, y), (x, 4 + BAR / 2), (edge, 4 + BAR / 2)
    drawing.line("output", "input", *up, kind="loop")


@cache
def plan(name: str) -> dict[str, Any]:
    """The map of an architecture, and what is to be told of its parts, ready for a browser.

    Raises KeyError for a name that is not in `ARCHITECTURES`.
    """
    model = ARCHITECTURES[name]
    drawing, width, height = (_two_stacks if model.kind == BOTH else _one_stack)(model)
    # Arrow keys go from part to part as a reader would: the source first, then downwards.
    drawing.nodes.sort(key=lambda node: (not node["id"].startswith("source "), node["y"]))
    nodes = [node | facts(model, node["id"]) for node in drawing.nodes]
    return {
        "name": name, "kind": model.kind, "source": model.source, "sizes": model.sizes,
        "context": model.config.context_length, "width": width, "height": height,
        "nodes": nodes, "edges": drawing.edges, "shapes": drawing.shapes,
        "frames": drawing.frames,
    }  # fmt: skip
