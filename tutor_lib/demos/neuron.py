"""One neuron of the storyteller's FFNs: what switches it on, what it writes, what it is worth."""

from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
import traitlets
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, svg, text, visible
from tutor_lib.demos.weights import storyteller
from tutor_lib.inside.points import edited
from tutor_lib.inside.trace import values_of
from tutor_lib.tokenize.bpe import END_OF_TEXT
from tutor_lib.train.corpus import corpus

SENTENCE = "The cat sat on the mat because it was tired, so the"
N_TEXTS, LONGEST = 60, 64  # stories that are searched, tokens in the longest of them
N_EXAMPLES = 4  # of the strongest activations that are shown, no two from one story
N_STRONGEST = 20  # tokens by which a neuron is judged
EVERY_NEURON = "blocks.*.ffn.neurons"


class Neuron(Demo):
    """A neuron of a layer: its strongest examples, its column, and the model without it.

    `unit` is "layer.neuron", both from 0. `stories` are texts that training never saw;
    `examples[layer][neuron]` lists the strongest activations in them as [story, position,
    activation].

    Raises TraitError for a neuron that the storyteller does not have, or a long text.
    """

    PRESET_TRAIT = "unit"

    text = traitlets.Unicode(SENTENCE).tag(sync=True)
    unit = traitlets.Unicode().tag(sync=True)
    position = traitlets.Int(999, min=0).tag(sync=True)
    stories = traitlets.List(traitlets.Unicode()).tag(sync=True)
    examples = traitlets.List(traitlets.List()).tag(sync=True)
    max_tokens = traitlets.Int(24, min=1).tag(sync=True)
    max_length = traitlets.Int(120, min=1).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return telling()

    @traitlets.default("unit")
    def _first(self) -> str:
        return next(iter(telling().values()))

    @traitlets.default("stories")
    def _stories(self) -> list[str]:
        return list(searched().stories)

    @traitlets.default("examples")
    def _examples(self) -> list[Any]:
        return strongest()

    @traitlets.validate("unit")
    def _exists(self, proposal: Any) -> str:
        config, value = storyteller()[0].config, proposal["value"]
        layer, _, neuron = value.partition(".")
        exists = layer.isdecimal() and neuron.isdecimal()
        if not (exists and int(layer) < config.n_layers and int(neuron) < config.d_ff):
            raise traitlets.TraitError(
                f"no neuron {value!r}: write layer.neuron, of {config.n_layers} layers with"
                f" {config.d_ff} neurons each, from 0"
            )
        return value

    def picture(self) -> str:
        """The neuron's activation at each token of the text."""
        model, tokenizer = storyteller()
        layer, neuron = map(int, self.unit.split("."))
        ids = tokenizer.encode(self.text)[: self.max_tokens] or [tokenizer.end_of_text_id]
        found = values_of(model, torch.tensor([ids]), [f"blocks.{layer}.ffn.neurons"])
        heights = next(iter(found.values()))[0, :, neuron].tolist()
        left, shapes, scale = CHARACTER * 12, [], 120 / max(map(abs, heights))
        for i, (token, height) in enumerate(zip(ids, heights, strict=True)):
            size, start = scale * abs(height), left + 130 + min(0, scale * height)
            shapes.append(text(0, 24 * i + 16, visible(tokenizer.token_bytes(token))))
            shapes.append(box(start, 24 * i + 4, size + 1, 16, "var(--td-accent)"))
            shapes.append(text(left + 270, 24 * i + 16, f"{height:.2f}".replace("-", "−"), "muted"))
        label = f"The activation of neuron {neuron} of layer {layer} along “{self.text}”"
        return svg(left + 340, 24 * len(ids), label, shapes)


@dataclass(frozen=True)
class Searched:
    """Stories that the storyteller was not trained on, and every neuron at each of their tokens."""

    stories: tuple[str, ...]
    ids: Int[Tensor, "N T"]
    real: Bool[Tensor, "N T"]  # False where a shorter story is filled up
    neurons: Float[Tensor, "L N T F"]


@cache
def searched() -> Searched:
    """Read the first short stories of the held-out corpus."""
    model, tokenizer = storyteller()
    written = [story for story in corpus(0, 200, held_out=True).split(END_OF_TEXT) if story]
    stories = [(s, ids) for s in written if len(ids := tokenizer.encode(s)) <= LONGEST][:N_TEXTS]
    texts = [torch.tensor(ids) for _, ids in stories]
    padded = torch.nn.utils.rnn.pad_sequence(texts, True, tokenizer.end_of_text_id)
    real = torch.arange(padded.size(1)) < torch.tensor([len(x) for x in texts])[:, None]
    neurons = torch.stack([*values_of(model, padded, [EVERY_NEURON]).values()])
    return Searched(tuple(story for story, _ in stories), padded, real, neurons)


@cache
def strongest() -> list[list[list[list[float]]]]:
    """For each layer and neuron the largest activations, either sign, one a story at most."""
    found = searched()
    sizes = found.neurons.abs().masked_fill(~found.real[None, :, :, None], -1)
    peaks, places = sizes.max(dim=2)  # (L, N, F)
    tops = peaks.topk(N_EXAMPLES, dim=1).indices.permute(0, 2, 1)  # (L, F, examples)
    return [
        [
            [_example(found, places, layer, int(story), neuron) for story in stories]
            for neuron, stories in enumerate(layer_tops)
        ]
        for layer, layer_tops in enumerate(tops)
    ]


def _example(found: Searched, places: Tensor, layer: int, story: int, neuron: int) -> list[float]:
    at = int(places[layer, story, neuron])
    return [story, at, round(found.neurons[layer, story, at, neuron].item(), 4)]


@cache
def telling() -> dict[str, str]:
    """Three neurons, each the best of all by a score, with names that say what they do.

    The first fires on one word, whatever follows; the second before one word, whatever stands
    there; the third's absence costs the most of the sentence's own next word.
    """
    tokenizer = storyteller()[1]
    reads, word = _best(*_purity())
    foresees, coming = _best(*reversed(_purity()))
    decides, answer = _most_missed()
    names = [visible(tokenizer.token_bytes(w)) for w in (word, coming, answer)]
    return {
        f"fires on “{names[0]}”": reads,
        f"fires before “{names[1]}”": foresees,
        f"most missed for “{names[2]}”": decides,
    }


def _purity() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Among a neuron's strongest tokens, the share of the commonest one, and which it is.

    First for the token itself, then for the one that follows.
    """
    found = searched()
    followed = found.real[:, :-1] & found.real[:, 1:]
    tops = found.neurons[:, :, :-1][:, followed].abs().topk(N_STRONGEST, dim=1).indices
    pairs = []
    for tokens in (found.ids[:, :-1][followed], found.ids[:, 1:][followed]):
        commonest = tokens[tops].mode(dim=1).values  # (L, F)
        pairs.append(((tokens[tops] == commonest[:, None]).float().mean(dim=1), commonest))
    return pairs[0], pairs[1]


def _best(wanted: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[str, int]:
    """The neuron whose strongest tokens agree in the one respect and differ in the other.

    Only tokens of more than three bytes count: of pieces of words, a reader would learn little.
    """
    tokenizer = storyteller()[1]
    is_long = torch.tensor([len(tokenizer.token_bytes(i)) > 3 for i in range(tokenizer.vocab_size)])
    score = (wanted[0] - other[0]).masked_fill(~is_long[wanted[1]], -1)
    return _name(int(score.argmax())), int(wanted[1].flatten()[score.argmax()])


@torch.no_grad()
def _most_missed() -> tuple[str, int]:
    """The neuron without which the sentence's most probable next token loses most."""
    model, tokenizer = storyteller()
    ids = torch.tensor([tokenizer.encode(SENTENCE)])
    answer = int(model(ids)[0, -1].argmax())
    left = []
    for layer in range(model.config.n_layers):
        # As many copies of the sentence as there are neurons, each without one of them.
        one_less = partial(torch.mul, 1 - torch.eye(model.config.d_ff)[:, None])
        with edited(model, {f"blocks.{layer}.ffn.neurons": one_less}):
            logits = model(ids.expand(model.config.d_ff, -1))[:, -1]
        left.append(logits.softmax(-1)[:, answer])
    return _name(int(torch.cat(left).argmin())), answer


def _name(index: int) -> str:
    layer, neuron = divmod(index, storyteller()[0].config.d_ff)
    return f"{layer}.{neuron}"
