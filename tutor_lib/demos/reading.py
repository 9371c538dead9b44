"""What demos have in common in Python: a head to choose, a text in tokens, what follows it."""

from typing import Any

import torch
import traitlets

from tutor_lib.demos.picture import visible
from tutor_lib.demos.weights import storyteller
from tutor_lib.predict.sampling import Sampler


class OneHead(traitlets.HasTraits):
    """A layer and a head of the storyteller, from 0. Raises TraitError for one that it lacks."""

    layer = traitlets.Int(0, min=0).tag(sync=True)
    head = traitlets.Int(0, min=0).tag(sync=True)

    @traitlets.validate("layer", "head")
    def _exists(self, proposal: Any) -> int:
        name, config = proposal["trait"].name, storyteller()[0].config
        count = config.n_layers if name == "layer" else config.n_heads
        if proposal["value"] >= count:
            raise traitlets.TraitError(f"no {name} {proposal['value']}: there are {count}, from 0")
        return proposal["value"]


def first_tokens(text: str, most: int) -> tuple[list[int], list[str]]:
    """The ids of a text's first tokens, and how they are shown; of an empty one, its end."""
    tokenizer = storyteller()[1]
    ids = tokenizer.encode(text)[:most] or [tokenizer.end_of_text_id]
    return ids, [visible(tokenizer.token_bytes(i)) for i in ids]


@torch.no_grad()
def next_tokens(prompt: str, sampler: Sampler) -> list[tuple[str, float]]:
    """The ten tokens that most probably follow a prompt, and how probable each is."""
    model, tokenizer = storyteller()
    ids = tokenizer.encode(prompt) or [tokenizer.end_of_text_id]
    logits = model(torch.tensor([ids[-model.config.context_length :]]))[:, -1]
    top = sampler.probabilities(logits)[0].topk(10)
    return [
        (visible(tokenizer.token_bytes(int(i))), p.item())
        for p, i in zip(top.values, top.indices, strict=True)
    ]
