"""The storyteller at work: the next token after every block, and a story drawn from it."""

import traitlets

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import bar_chart
from tutor_lib.demos.reading import next_tokens
from tutor_lib.predict.sampling import Sampler

PRESETS = {
    "it was tired": "The cat sat on the mat because it was tired, so the",
    "it was soft": "The cat sat on the mat because it was soft, so the",
    "tired, but": "The cat sat on the mat because it was tired, but the",
    "a story begins": "Once upon a time there was",
    "a list said again": "Mia said: cat red forest key. Tom said: cat",
}


class Generate(Demo):
    """A prompt, the chart of what may come next, and buttons that draw from it.

    `text` is the prompt and all that was drawn since; the browser writes it. `top_k` 0 keeps
    all tokens, as do `top_p` 1 and `min_p` 0; `temperature` 0 is greedy. The same prompt,
    settings and seed draw the same text.
    """

    PRESET_TRAIT = "prompt"

    prompt = traitlets.Unicode(PRESETS["it was tired"]).tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    temperature = traitlets.Float(1.0, min=0.0, max=2.0).tag(sync=True)
    top_k = traitlets.Int(0, min=0, max=40).tag(sync=True)
    top_p = traitlets.Float(1.0, min=0.05, max=1.0).tag(sync=True)
    min_p = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    seed = traitlets.Int(1, min=0, max=2**32 - 1).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    @traitlets.default("text")
    def _nothing_drawn(self) -> str:
        return self.prompt

    def picture(self) -> str:
        """The ten most probable next tokens."""
        sampler = Sampler(self.temperature, self.top_k or None, self.top_p, self.min_p)
        rows = next_tokens(self.prompt, sampler)
        return bar_chart(f"What may follow “{self.prompt}”", rows)
