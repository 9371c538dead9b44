"""Attention does not see order: shuffled tokens keep their outputs until positions come in."""

import torch
import traitlets
from jaxtyping import Float
from torch import Tensor

from tutor_lib.attention.core import causal_mask
from tutor_lib.attention.multihead import GroupedQueryAttention
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.picture import CHARACTER, box, signed, svg, text, visible
from tutor_lib.demos.weights import storyteller
from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.ffn.norm import RMSNorm

NO_ORDER, ROPE, CAUSAL = range(3)

PRESETS = {
    "who saw whom": "The cat saw the dog.",
    "one word twice": "red cat red dog red",
    "the same word": "red red red red",
}

_SHOWN = 32  # numbers of each output in the still picture


@torch.no_grad()
def attention_rows(ids: list[int], source: int) -> Float[Tensor, "T C"]:
    """What the first attention layer of the storyteller writes for each token.

    `source` says where it can learn the order from: nowhere, RoPE, or a causal mask alone.
    """
    model, c = storyteller()[0], storyteller()[0].config
    rotary = RotaryEmbedding(c.d_model // c.n_heads, c.context_length, c.rope_base)
    layer = GroupedQueryAttention(
        c.d_model, c.n_heads, c.n_kv_heads, rotary if source == ROPE else None
    )
    trained = model.blocks[0].state_dict()
    layer.load_state_dict({name: trained[f"attention.{name}"] for name in layer.state_dict()})
    norm = RMSNorm(c.d_model, c.norm_eps)
    norm.load_state_dict({"weight": trained["attention_norm.weight"]})
    x = norm(model.embedding(torch.tensor([ids])))
    return layer(x, causal_mask(len(ids)) if source == CAUSAL else None)[0][0]


class Shuffle(Demo):
    """A sentence whose tokens can be moved, and how far each token's attention output moves.

    `order` lists the places of the text in the order in which they now stand. `source` is 0 for
    attention that cannot know the order, 1 for RoPE, 2 for a causal mask without positions.
    """

    text = traitlets.Unicode(PRESETS["who saw whom"]).tag(sync=True)
    order = traitlets.List(traitlets.Int(min=0)).tag(sync=True)
    source = traitlets.Int(NO_ORDER, min=NO_ORDER, max=CAUSAL).tag(sync=True)
    bet = traitlets.Int(-1, min=-1, max=2).tag(sync=True)
    max_tokens = traitlets.Int(8, min=1).tag(sync=True)
    max_length = traitlets.Int(60, min=1).tag(sync=True)

    @traitlets.default("presets")
    def _presets(self) -> dict[str, str]:
        return PRESETS

    @traitlets.default("order")
    def _as_written(self) -> list[int]:
        return list(range(len(self._ids())))

    def _ids(self) -> list[int]:
        return storyteller()[1].encode(self.text)[: self.max_tokens]

    def picture(self) -> str:
        """Each token's output in the text's order and in reverse: the same rows."""
        if not (ids := self._ids()):
            return svg(240, 40, "No text", [text(0, 20, "Type a text", "muted")])
        tokenizer = storyteller()[1]
        names = [visible(tokenizer.token_bytes(i)) for i in ids]
        rows = attention_rows(ids, NO_ORDER)[:, :_SHOWN]
        left, cell = CHARACTER * max(map(len, names)) + 12, 7
        shapes = []
        for column, places in enumerate([range(len(ids)), reversed(range(len(ids)))]):
            at = column * (left + cell * _SHOWN + 30)
            for y, t in enumerate(places):
                shapes.append(text(at, 26 * y + 16, names[t], "token"))
                for x, value in enumerate(rows[t].tolist()):
                    colour = signed(value / rows.abs().max().item())
                    shapes.append(box(at + left + cell * x, 26 * y, cell, 22, colour))
        width = 2 * (left + cell * _SHOWN) + 30
        label = f"Attention outputs for “{self.text}”, in order and reversed: the same rows"
        return svg(width, max(26 * len(ids), 40), label, shapes)
