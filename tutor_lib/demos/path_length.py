"""How far one token is from another in an RNN, an LSTM and a transformer, and what arrives."""

from typing import Any

import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import bar_chart
from tutor_lib.experiments.path_length import CHAIN
from tutor_lib.experiments.record import load_record


class PathLength(Demo):
    """A distance; for each network the steps on the way, the signal left and the names said right.

    The numbers are those of `tutor_lib.experiments.path_length`, as its stored run found them.
    `distance` counts tokens, `trained` is 0 before training and 1 after it; `bet` is the answer
    that the reader has chosen, counted from 0, or −1.

    Raises TraitError for a distance that was not measured.
    """

    measured = traitlets.Dict().tag(sync=True)
    distance = traitlets.Int(8, min=1).tag(sync=True)
    trained = traitlets.Int(1, min=0, max=1).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=3).tag(sync=True)

    @traitlets.default("measured")
    def _as_stored(self) -> dict[str, Any]:
        record = load_record("path_length")
        found, steps = record["results"], record["plan"]["steps"]
        models = {
            name: {"chain": name in CHAIN, "right": model["right"], **model["signal"]}
            for name, model in found["models"].items()
        }
        return {"chance": found["chance"], "steps": steps, "models": models}

    @traitlets.validate("distance")
    def _measured_there(self, proposal: Any) -> int:
        furthest = len(next(iter(self.measured["models"].values()))["right"])
        if proposal["value"] > furthest:
            raise traitlets.TraitError(
                f"distances were measured up to {furthest}, got {proposal['value']}"
            )
        return proposal["value"]

    def picture(self) -> str:
        """The names said right at the longest distance."""
        models = self.measured["models"]
        rows = [(name, model["right"][-1]) for name, model in models.items()]
        furthest = len(next(iter(models.values()))["right"])
        return bar_chart(f"Names said right at distance {furthest}", rows)
