"""The hybrid against Bamba, and generation from states against the whole pass."""

import pytest
import torch
from torch import Tensor, nn
from transformers import BambaConfig, BambaForCausalLM, JambaConfig
from transformers.models.jamba.modeling_jamba import JambaAttention

from tutor_lib.embed.rope import RotaryEmbedding
from tutor_lib.ffn.dense import SwiGLUFeedForward
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler
from tutor_lib.rivals.attention import CausalAttention
from tutor_lib.rivals.gmlp import GMLP
from tutor_lib.rivals.hybrid import Hybrid, HybridConfig
from tutor_lib.rivals.language_model import (
    LanguageModel,
    Recurrent,
    state_bytes,
    state_bytes_after,
)
from tutor_lib.rivals.mamba2 import Mamba2, Mamba2Config
from tutor_lib.rivals.rnn import LSTM, RNN
from tutor_lib.rivals.rwkv import ChannelMixing, TimeMixing

V, C, F, L = 53, 15, 29, 5
MAMBA = Mamba2Config(C, n_heads=6, head_size=5, state_size=11, n_groups=3, chunk=7)


def sizes(**options) -> HybridConfig:
    given = {"vocab_size": V, "n_layers": L, "d_ff": F, "mamba": MAMBA, "n_heads": 3,
             "n_kv_heads": 1, "attention_layers": (1, 4), "rotary_size": 2}  # fmt: skip
    return HybridConfig(**given | options)


def hybrid(**options) -> Hybrid:
    made = Hybrid(sizes(**options))
    for parameter in made.parameters():
        if parameter.ndim < 2:
            nn.init.normal_(parameter, std=0.5)
    nn.init.normal_(made.embedding.weight)
    return made


def bamba() -> BambaForCausalLM:
    config = BambaConfig(
        vocab_size=V, hidden_size=C, intermediate_size=F, num_hidden_layers=L, rms_norm_eps=1e-5,
        num_attention_heads=3, num_key_value_heads=1, attn_layer_indices=[1, 4],
        mamba_n_heads=6, mamba_d_head=5, mamba_n_groups=3, mamba_d_state=11, mamba_d_conv=4,
        mamba_expand=2, mamba_chunk_size=7, tie_word_embeddings=True, pad_token_id=None,
        attn_implementation="eager", rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    )  # fmt: skip
    return BambaForCausalLM(config).eval()


def in_their_names(ours: Hybrid, what=lambda parameter: parameter) -> dict[str, Tensor]:
    """Our weights, or what `what` makes of them, under Bamba's names."""
    found = {"model.embed_tokens": ours.embedding, "model.final_layernorm": ours.final_norm,
             "lm_head": ours.embedding}  # fmt: skip
    for i, (norm, layer) in enumerate(zip(ours.norms, ours.layers, strict=True)):
        block = f"model.layers.{i // 2}."
        found[block + ("input_layernorm", "pre_ff_layernorm")[i % 2]] = norm
        if isinstance(layer, CausalAttention):
            found[block + "self_attn"] = layer.attention
        else:
            found[block + ("mamba" if isinstance(layer, Mamba2) else "feed_forward")] = layer
    named = {name: module.named_parameters() for name, module in found.items()}
    return {f"{a}.{b}": what(p) for a, parameters in named.items() for b, p in parameters}


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-10) -> None:
    largest = theirs.abs().max().item()
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance * largest)


@pytest.mark.parametrize("length", [1, 2, 7, 17])
def test_equals_bamba(length, place):
    device, dtype, tolerance = place
    tolerance = max(tolerance, 1e-5)  # theirs takes norms, decays and angles in float32
    ours, theirs = hybrid(), bamba()
    theirs.load_state_dict(in_their_names(ours))
    ours, theirs = ours.to(device, dtype), theirs.to(device, dtype)
    ids = torch.randint(V, (2, length)).to(device)
    out, expected = ours(ids), theirs(ids).logits
    close(out, expected, tolerance)
    slope = torch.randn(2, length, V).to(device, dtype)
    out.backward(slope)
    expected.backward(slope)
    gradients = in_their_names(ours, lambda parameter: parameter.grad)
    for name, parameter in theirs.named_parameters():
        largest = max(parameter.grad.abs().max().item(), 1e-3)  # a key's may cancel to nothing
        torch.testing.assert_close(
            gradients[name], parameter.grad, rtol=tolerance, atol=10 * tolerance * largest
        )


def test_generates_what_bamba_does():
    ours, theirs = hybrid(), bamba()
    theirs.load_state_dict(in_their_names(ours))
    prompt = torch.randint(V, (2, 9))
    made = torch.stack(list(generate(ours, prompt, 12, Sampler(temperature=0.0))), dim=1)
    expected = theirs.generate(
        prompt, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0,
        attention_mask=torch.ones_like(prompt),
    )  # fmt: skip
    assert made.tolist() == expected[:, 9:].tolist()


@pytest.mark.parametrize("cuts", [[17], [1, 16], [5, 1, 11], [1] * 17])
@torch.no_grad()
def test_a_text_in_pieces_equals_bambas_whole_pass(cuts):
    ours, theirs = hybrid(), bamba()
    theirs.load_state_dict(in_their_names(ours))
    ids = torch.randint(V, (2, 17))
    caches = ours.new_caches(2)
    pieces = [ours(piece, caches) for piece in ids.split(cuts, dim=1)]
    close(torch.cat(pieces, dim=1), theirs(ids).logits, 1e-5)


def test_the_pattern_is_the_configs():
    jamba = Hybrid(sizes(attention_layers=range(4, L, 8), rotary_size=0))
    kinds = [Mamba2] * 4 + [CausalAttention]
    assert [type(layer) for layer in jamba.layers[::2]] == kinds
    assert {type(layer) for layer in jamba.layers[1::2]} == {SwiGLUFeedForward}
    assert jamba.layers[8].attention.rotary is None


@torch.no_grad()
def test_attention_without_positions_equals_jambas():
    config = JambaConfig(
        hidden_size=C, num_attention_heads=3, num_key_value_heads=1, attn_implementation="eager"
    )
    ours, theirs = CausalAttention(C, 3, 1), JambaAttention(config, layer_idx=4)
    theirs.load_state_dict(ours.attention.state_dict())
    x = torch.randn(2, 11, C)
    mask = torch.full((11, 11), -torch.inf).triu(1).expand(2, 1, -1, -1)
    close(ours(x), theirs(x, attention_mask=mask)[0], 1e-5)


@pytest.mark.parametrize("n_tokens", [0, 1, 2, 31])
@torch.no_grad()
def test_what_a_layer_must_keep_of_t_tokens(n_tokens):
    """Attention's part grows with T, Mamba's does not: by the formulas, and as they hold it."""
    ours = hybrid(attention_layers=(1,), n_layers=2)
    said = state_bytes_after(ours, n_tokens)
    mamba = 4 * (6 * 5 * 11 + 3 * (6 * 5 + 2 * 3 * 11))
    assert said == [mamba, 0, 4 * 2 * 1 * 5 * n_tokens, 0]  # 4 bytes · 2 K D T
    caches = ours.new_caches(batch=3)
    if n_tokens:
        ours(torch.randint(V, (3, n_tokens)), caches)
    assert [state_bytes(cache) for cache in caches] == [3 * n_bytes for n_bytes in said]


RIVALS = {
    "attention": lambda: [CausalAttention(14, 7, 7, RotaryEmbedding(2, 32))],
    "grouped attention": lambda: [CausalAttention(14, 4, 2, RotaryEmbedding(6, 32), 6)],
    "RNN": lambda: [RNN(14)],
    "LSTM": lambda: [LSTM(14)],
    "Mamba-2": lambda: [Mamba2(Mamba2Config(14, 4, 7, 5, chunk=4))],
    "RWKV": lambda: [TimeMixing(14), ChannelMixing(14, F)],
    "gMLP": lambda: [GMLP(14, 22, 32)],
}


@pytest.mark.parametrize("name", RIVALS)
@torch.no_grad()
def test_every_rival_goes_on_from_its_state_as_if_it_read_all_at_once(name, place):
    device, dtype, tolerance = place
    layers = [*RIVALS[name](), SwiGLUFeedForward(14, F), *RIVALS[name]()]
    model = LanguageModel(V, 14, layers).to(device, dtype)
    nn.init.normal_(model.embedding.weight)
    ids = torch.randint(V, (2, 13)).to(device)
    whole = model(ids)
    caches = model.new_caches(2)
    pieces = [model(piece, caches) for piece in ids.split([6, 1, 1, 5], dim=1)]
    close(torch.cat(pieces, dim=1), whole, tolerance)
    for layer in filter(lambda layer: isinstance(layer, Recurrent), model.layers):
        x = torch.randn(2, 13, 14).to(device, dtype)
        close(Recurrent.resume(layer, x, layer.new_state(2))[0], layer(x), tolerance)
    changed = ids.clone()
    changed[:, 9] = (ids[:, 9] + 1) % V
    assert torch.equal(model(changed)[:, :9], whole[:, :9]), "it looked ahead"
    assert not torch.isclose(model(changed)[:, 9:], whole[:, 9:]).all(-1).any(), "it forgot"


def test_the_frame_is_the_formula():
    """x ← x + layer(norm(x)), and the embedding once more as the unembedding."""
    layers = [nn.Linear(C, C), nn.Tanh(), nn.Linear(C, C)]
    model = LanguageModel(V, C, layers, nn.LayerNorm)
    ids = torch.randint(V, (2, 7))
    x = nn.functional.embedding(ids, model.embedding.weight)
    for layer in layers:
        x = x + layer(nn.functional.layer_norm(x, (C,)))
    expected = nn.functional.linear(nn.functional.layer_norm(x, (C,)), model.embedding.weight)
    torch.testing.assert_close(model(ids), expected)
    assert model.embedding.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_states_are_replaced_and_not_changed():
    """So that one prompt can be continued in many ways."""
    ours = hybrid()
    start, text = ours.new_caches(2), torch.randint(V, (2, 5))
    ours(torch.randint(V, (2, 7)), start)
    first = ours(text, [*start])
    assert torch.equal(ours(text, [*start]), first)


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sizes(attention_layers=(1, 5, -1)), r"no layers \[-1, 5\] among 5"),
        (lambda: sizes(n_heads=4), "n_heads=4 does not divide d_model=15"),
        (lambda: sizes(n_kv_heads=0), "n_kv_heads must be positive, got 0"),
        (lambda: sizes(rotary_size=3), "RoPE cannot turn 3 numbers of 5"),
        (lambda: sizes(rotary_size=6), "RoPE cannot turn 6 numbers of 5"),
        (lambda: sizes(rotary_size=-2), "RoPE cannot turn -2 numbers of 5"),
        (lambda: hybrid(n_kv_heads=2), "n_kv_heads=2 does not divide n_heads=3"),
        (lambda: hybrid(context_length=4)(torch.zeros(1, 5, dtype=torch.long)), "context of 4"),
        (lambda: hybrid()(torch.full((1, 1), V)), "token id 53 is outside 0…52"),
        (lambda: LanguageModel(V, C, []), r"\(53, 15, 0\)"),
        (lambda: LanguageModel(0, C, [nn.Identity()]), r"\(0, 15, 1\)"),
        (lambda: state_bytes_after(hybrid(), -1), "got -1"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
