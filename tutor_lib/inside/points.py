"""Every value of a decoder's forward pass has a name, by which it is read and replaced.

| name | shape | what |
|---|---|---|
| `embedding` | B T C | the tokens' vectors, with learned positions where there are some |
| `blocks.0.residual_before` | B T C | the residual stream as the block finds it |
| `blocks.0.attention_norm` | B T C | its normalised copy, which attention reads |
| `blocks.0.attention.q_proj`, `k_proj`, `v_proj` | B T H·D | heads side by side, not yet rotated |
| `blocks.0.attention.q` | B H T D | queries, rotated where there is RoPE |
| `blocks.0.attention.k`, `v` | B K S D | keys (rotated) and values, with those of a cache |
| `blocks.0.attention.scores` | B H T S | scaled, capped; -∞ where a query may not look |
| `blocks.0.attention.weights` | B H T S | their softmax: the attention pattern |
| `blocks.0.attention.z` | B H T D | each head's mixed values |
| `blocks.0.attention.heads` | B H T C | what each head makes of them: W_O times its z alone |
| `blocks.0.attention.output` | B T C | what attention adds to the stream |
| `blocks.0.residual_middle` | B T C | the stream between attention and FFN |
| `blocks.0.ffn_norm` | B T C | its normalised copy, which the FFN reads |
| `blocks.0.ffn.gate_proj`, `up_proj` | B T F | before the bend: gate and up, or up alone |
| `blocks.0.ffn.neurons` | B T F | the neurons' activations, which `down_proj` reads |
| `blocks.0.ffn.output` | B T C | what the FFN adds to the stream |
| `blocks.0.residual_after` | B T C | the stream as the block leaves it |
| `final_norm` | B T C | the last block's stream, normalised |
| `logits` | B T V | what comes out |

A block without a part lacks its names: latent attention projects no `k_proj`, and a mixture of
experts has no neurons that all tokens share.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tutor_lib.attention.cache import KVCache
from tutor_lib.attention.core import causal_mask
from tutor_lib.attention.multihead import repeat_kv
from tutor_lib.attention.scored import Mask, ScoredAttention
from tutor_lib.model.block import Block
from tutor_lib.model.decoder import Decoder

Edit = Callable[[Tensor], Tensor]

IN_BLOCK = (
    "residual_before", "attention_norm", "attention.q_proj", "attention.k_proj",
    "attention.v_proj", "attention.q", "attention.k", "attention.v", "attention.scores",
    "attention.weights", "attention.z", "attention.heads", "attention.output", "residual_middle",
    "ffn_norm", "ffn.gate_proj", "ffn.up_proj", "ffn.neurons", "ffn.output", "residual_after",
)  # fmt: skip
# What a hook can reach: a module, and whether the value is its input or its output.
INPUT, OUTPUT = True, False
HOOKED = {
    "embedding": ("blocks.0", INPUT),
    **{f"attention.{x}_proj": (f"attention.{x}_proj", OUTPUT) for x in "qkv"},
    **{f"ffn.{x}_proj": (f"ffn.{x}_proj", OUTPUT) for x in ("gate", "up")},
    "ffn.neurons": ("ffn.down_proj", INPUT),
    "final_norm": ("final_norm", OUTPUT),
    "logits": ("", OUTPUT),
}


def names(model: Decoder) -> list[str]:
    """The names of all values of this model, in the order in which they are computed."""
    parts = dict(model.named_modules())
    inner = [f"blocks.{i}.{name}" for i in range(len(model.blocks)) for name in IN_BLOCK]
    every = ["embedding", *inner, "final_norm", "logits"]
    return [name for name in every if not (hooked := _hooked(name)) or hooked[0] in parts]


def find(model: Decoder, patterns: Iterable[str]) -> list[str]:
    """The names that fit any of `patterns`, in which `*` stands for anything.

    Raises ValueError if a pattern fits none, with the names that come near.
    """
    known, found = names(model), set()
    for pattern in patterns:
        fitting = {name for name in known if fnmatchcase(name, pattern)}
        if not fitting:
            near = get_close_matches(pattern, known, n=4) or dict.fromkeys(map(_any_layer, known))
            raise ValueError(f"no value is called {pattern!r}; there are {', '.join(near)}")
        found |= fitting
    return [name for name in known if name in found]


def _any_layer(name: str) -> str:
    return re.sub(r"^blocks\.\d+", "blocks.*", name)


@contextmanager
def edited(model: Decoder, edits: Mapping[str, Edit]) -> Iterator[None]:
    """Inside this context, the value of each name is what its edit makes of it.

    An edit that hands back what it got only reads. `*` in a name stands for anything. Contexts
    may be nested: the outer one edits first. Gradients flow through values and edits alike.

    Raises ValueError if there is no such name, two fit one value, or an edit changes the
    value's shape.
    """
    edits = _by_name(model, edits)
    with ExitStack() as stack:
        for i, block in enumerate(model.blocks):
            assert isinstance(block, Block)
            prefix = f"blocks.{i}."
            if any(name.startswith(prefix) and not _hooked(name) for name in edits):
                stack.enter_context(_opened(block, prefix, edits))
        for name, edit in edits.items():
            if hooked := _hooked(name):
                stack.callback(_hook(model.get_submodule(hooked[0]), hooked[1], edit).remove)
        yield


def _by_name(model: Decoder, edits: Mapping[str, Edit]) -> dict[str, Edit]:
    """The edit of each value."""
    found: dict[str, Edit] = {}
    for pattern, edit in edits.items():
        for name in find(model, [pattern]):
            if name in found:
                raise ValueError(f"{pattern!r} is not the only name here for {name}")
            found[name] = _same_shape(name, edit)
    return found


def _same_shape(name: str, edit: Edit) -> Edit:
    def checked(value: Tensor) -> Tensor:
        new = edit(value)
        if new.shape != value.shape:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, got {tuple(new.shape)}")
        return new

    return checked


def _hooked(name: str) -> tuple[str, bool] | None:
    """The path of the module that takes or gives this value, or None if none does."""
    prefix = "".join(re.findall(r"^blocks\.\d+\.", name))
    if (short := name.removeprefix(prefix)) not in HOOKED:
        return None
    path, side = HOOKED[short]
    return prefix + path, side


def _hook(module: nn.Module, side: bool, edit: Edit) -> RemovableHandle:
    if side == INPUT:
        return module.register_forward_pre_hook(lambda _, given: (edit(given[0]), *given[1:]))
    return module.register_forward_hook(lambda _, given, output: edit(output))


@contextmanager
def _opened(block: Block, prefix: str, edits: Mapping[str, Edit]) -> Iterator[None]:
    """Let an `OpenBlock` stand in for the block's own `forward`."""
    outer = vars(block).get("forward")
    earlier = outer.edits if isinstance(outer, OpenBlock) else ()
    vars(block)["forward"] = OpenBlock(block, prefix, (*earlier, edits))
    try:
        yield
    finally:
        del vars(block)["forward"]
        if outer is not None:
            vars(block)["forward"] = outer


@dataclass(frozen=True)
class OpenBlock:
    """A block's forward pass, in which every value is named and may be edited on the way.

    It runs the fused kernel, as the block does, unless scores or weights are asked for: the
    kernel has none, and the readable attention takes its place.
    """

    block: Block
    prefix: str
    edits: tuple[Mapping[str, Edit], ...]  # the outermost context's first

    def __call__(
        self,
        x: Float[Tensor, "B T C"],
        mask: Mask | None = None,
        cache: KVCache | None = None,
        positions: Int[Tensor, "B T"] | None = None,
    ) -> Float[Tensor, "B T C"]:
        """What `Block.forward` computes, value by value."""
        block = self.block
        x = self._at("residual_before", x)
        normed = self._at("attention_norm", block.attention_norm(x))
        q, k, v = self._heads(normed, cache, positions)
        mixed = self._project(self._at("attention.z", self._mix(q, k, v, mask)))
        mixed = self._at("attention.output", block.after_attention(mixed))
        x = self._at("residual_middle", x + mixed)
        normed = self._at("ffn_norm", block.ffn_norm(x))
        written = self._at("ffn.output", block.after_ffn(block.ffn(normed)))
        return self._at("residual_after", x + written)

    def _heads(
        self, x: Tensor, cache: KVCache | None, positions: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = self.block.attention.heads(x, cache, positions)
        if cache is not None and self._wants("attention.k", "attention.v"):
            k, v = k.clone(), v.clone()  # the cache's own room will be written to again
        return self._at("attention.q", q), self._at("attention.k", k), self._at("attention.v", v)

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, mask: Mask | None) -> Tensor:
        attend = self.block.attention.attend
        assert isinstance(attend, ScoredAttention)
        if not self._wants("attention.scores", "attention.weights"):
            return attend.fused(q, k, v, mask, causal=mask is None and q.size(2) > 1)
        group = q.size(1) // k.size(1)
        k, v = repeat_kv(k, group), repeat_kv(v, group)
        mask = causal_mask(q.size(2), k.size(2), q.device) if mask is None else mask
        scores = self._at("attention.scores", attend.scores(q, k, mask))
        return self._at("attention.weights", scores.softmax(dim=-1)) @ v

    def _project(self, z: Tensor) -> Tensor:
        """W_O z for all heads at once; for each by itself if that is asked for."""
        project = self.block.attention.o_proj
        if not self._wants("attention.heads"):
            return project(z.transpose(1, 2).flatten(-2))
        alone = torch.diag_embed(z.permute(0, 2, 3, 1))  # (B, T, D, H, H): a head, and zeros
        bias = project(z.new_zeros(z.size(1) * z.size(3)))
        heads = project(alone.permute(0, 3, 1, 4, 2).flatten(-2)) - bias  # (B, H, T, C)
        return self._at("attention.heads", heads).sum(1) + bias

    def _at(self, name: str, value: Tensor) -> Tensor:
        for edits in self.edits:
            if edit := edits.get(self.prefix + name):
                value = edit(value)
        return value

    def _wants(self, *names: str) -> bool:
        return any(self.prefix + name in edits for edits in self.edits for name in names)
