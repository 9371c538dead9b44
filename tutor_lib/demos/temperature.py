"""Which tokens survive the cut: a bet on temperature, top-k, top-p and min-p."""

import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import bar_chart
from tutor_lib.demos.reading import next_tokens
from tutor_lib.predict.sampling import Sampler

PRESETS = {
    "an open end": "One day Mia found a",
    "two ways on": "The cat sat on the mat because it was tired, so the",
    "a sure thing": "Once upon a",
    "a name again": "Mia and Tom lived in the village. One day Tom saw",
    "nothing yet": "",
}
# What a reader may be asked to bet on: each names the settings that differ from "nothing cut".
CHALLENGES = {
    "top-k 3": {"top_k": 3},
    "top-p 0.8": {"top_p": 0.8},
    "min-p 0.2": {"min_p": 0.2},
    "hot, then top-p 0.8": {"temperature": 2.0, "top_p": 0.8},
    "cold, then min-p 0.2": {"temperature": 0.5, "min_p": 0.2},
}


class Temperature(Demo):
    """The storyteller's logits after a prompt, a bet on what the cuts leave, and the numbers.

    `bet` holds the ids that the reader thinks survive; `revealed` is whether the answer shows.
    `top_k` 0, `top_p` 1 and `min_p` 0 cut nothing.
    """

    PRESET_TRAIT = "prompt"

    prompt = traitlets.Unicode(PRESETS["an open end"]).tag(sync=True)
    temperature = traitlets.Float(1.0, min=0.1, max=3.0).tag(sync=True)
    top_k = traitlets.Int(0, min=0, max=40).tag(sync=True)
    top_p = traitlets.Float(0.8, min=0.05, max=1.0).tag(sync=True)
    min_p = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    bet = traitlets.List(traitlets.Int()).tag(sync=True)
    revealed = traitlets.Bool(False).tag(sync=True)
    challenges = traitlets.Dict(CHALLENGES).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    def picture(self) -> str:
        """The ten most probable tokens after the cuts."""
        sampler = Sampler(self.temperature, self.top_k or None, self.top_p, self.min_p)
        rows = next_tokens(self.prompt, sampler)
        return bar_chart(f"What may follow “{self.prompt}” after the cuts", rows)
