"""The whole machine on one map: what each part reads and writes, its shapes, its parameters."""

from typing import Any

import traitlets

from tutor_lib.demos.architecture_parts import ARCHITECTURES
from tutor_lib.demos.architecture_plan import plan
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import Number, box, svg, text

NOBODY = ""


class ArchitectureMap(Demo):
    """A decoder, an encoder, or both, part by part, with the sizes of a real model.

    `part` is the part chosen, by its id on the map (none at first), `batch`, `tokens` and
    `source_tokens` are B, T and S. `chapters` leads from the page to the folder of the chapters.

    Raises TraitError for a model that is not in `ARCHITECTURES`, or a part that it lacks.
    """

    PRESET_TRAIT = "model"

    model = traitlets.Unicode("storyteller").tag(sync=True)
    part = traitlets.Unicode(NOBODY).tag(sync=True)
    batch = traitlets.Int(1, min=1, max=8).tag(sync=True)
    tokens = traitlets.Int(13, min=1, max=128).tag(sync=True)
    source_tokens = traitlets.Int(11, min=1, max=128).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=2).tag(sync=True)
    chapters = traitlets.Unicode("pipeline/").tag(sync=True)
    plans = traitlets.List(traitlets.Dict()).tag(sync=True)

    @traitlets.default("plans")
    def _all_plans(self) -> list[dict[str, Any]]:
        return [plan(name) for name in ARCHITECTURES]

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return {name: name for name in ARCHITECTURES}

    @traitlets.validate("model")
    def _known(self, proposal: Any) -> str:
        if proposal["value"] not in ARCHITECTURES:
            known = ", ".join(ARCHITECTURES)
            raise traitlets.TraitError(f"no model {proposal['value']!r}; there are {known}")
        return proposal["value"]

    @traitlets.validate("part")
    def _on_the_map(self, proposal: Any) -> str:
        parts = {node["id"] for name in ARCHITECTURES for node in plan(name)["nodes"]}
        if proposal["value"] not in parts | {NOBODY}:
            raise traitlets.TraitError(f"no part {proposal['value']!r}; there are {sorted(parts)}")
        return proposal["value"]

    def picture(self) -> str:
        """The map, with its shapes in numbers."""
        drawn = plan(self.model)
        numbers = drawn["sizes"] | {"B": self.batch, "T": self.tokens, "S": self.source_tokens}
        pipes = [node for node in drawn["nodes"] if node["part"] == "residual"]
        others = [node for node in drawn["nodes"] if node["part"] != "residual"]
        shapes = [_frame(frame) for frame in drawn["frames"]]
        shapes += [_node(node) for node in pipes] + [_edge(edge) for edge in drawn["edges"]]
        shapes += [_node(node) for node in others]
        for shape in drawn["shapes"]:
            sizes = ", ".join(str(numbers[letter]) for letter in shape["letters"])
            anchor = f'text-anchor="{shape["anchor"]}" font-size="11"'
            shapes.append(text(shape["x"], shape["y"], f"[{sizes}]", "muted", anchor))
        label = f"The parts of {self.model} from the tokens to the probabilities"
        return svg(drawn["width"], drawn["height"], label, shapes)


_SANS = 'font-family="system-ui,sans-serif" font-size="13"'


def _frame(frame: dict[str, Any]) -> str:
    x, y, width, height = (frame[name] for name in ("x", "y", "width", "height"))
    dashed = 'rx="10" stroke="var(--td-edge)" stroke-dasharray="4 3"'
    anchor = f'text-anchor="{frame["anchor"]}" {_SANS}'
    label = text(frame["label_x"], y + 15, frame["label"], "muted", anchor)
    return box(x, y, width, height, "none", dashed) + label


def _node(node: dict[str, Any]) -> str:
    x, y, width, height = (node[name] for name in ("x", "y", "width", "height"))
    fill = "var(--td-paper)" if node["part"] != "residual" else "var(--td-line)"
    shape = box(x, y, width, height, fill, 'rx="7" stroke="var(--td-edge)"')
    if node["part"] == "residual":
        turn = f'transform="translate({x + width / 2 - 3:.1f} {node["caption"]:.1f}) rotate(90)"'
        name = 'text-anchor="middle" font-family="system-ui,sans-serif" font-size="10"'
        return shape + text(0, 0, node["label"], "ink", f"{name} {turn}")
    middle = f'text-anchor="middle" {_SANS}'
    return shape + text(x + width / 2, y + height / 2 + 4.5, node["label"], "ink", middle)


def _edge(edge: dict[str, Any]) -> str:
    colour = edge["kind"] if edge["kind"] in ("q", "k", "v") else "muted"
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in edge["points"])
    line = f'<polyline points="{points}" fill="none" style="stroke:var(--td-{colour})"/>'
    return line + (_plus(*edge["plus"]) if edge["plus"] else "")


def _plus(x: Number, y: Number) -> str:
    circle = 'fill="var(--td-paper)" stroke="var(--td-edge)"'
    return f'<circle cx="{x}" cy="{y}" r="8" {circle}/>' + text(
        x, y + 5, "+", "ink", 'text-anchor="middle"'
    )
