"""Every named value against the forward pass written out in plain tensor algebra."""

import math
import re

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, Gemma2Config, GPT2Config, LlamaConfig, MistralConfig

from tutor_lib.attention.latent import LatentSizes
from tutor_lib.inside.patch import patch
from tutor_lib.inside.points import edited, find, names
from tutor_lib.inside.trace import attention_weights, record, values_of
from tutor_lib.model.config import DecoderConfig, ExpertSizes
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import ATTENTION_ONLY, GPT2
from tutor_lib.model.pretrained import load_pretrained

V, T, C, H, K, D, F = 53, 11, 30, 3, 1, 10, 17
SIZES = {"vocab_size": V, "context_length": 23, "n_layers": 2, "d_model": C, "n_heads": H,
         "n_kv_heads": K, "d_ff": F}  # fmt: skip
LLAMA = DecoderConfig(**SIZES, tied=False)
NEAR = 2e-6  # in float64, but the library keeps RoPE's angles in float32
CONFIGS = {
    "llama": LLAMA,
    "gpt2": DecoderConfig(**SIZES | {"n_kv_heads": H}, family=GPT2),
    "windows and caps": DecoderConfig(**SIZES, windows=(None, 3), score_softcap=0.7,
                                      score_scale=0.4, logit_softcap=1.3),
    "attention only": DecoderConfig(**SIZES, family=ATTENTION_ONLY),
}  # fmt: skip


def randomised(config: DecoderConfig) -> Decoder:
    model = Decoder(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 * (parameter.ndim < 2), std=0.2)
    return model


def by_hand(
    config: DecoderConfig, w: dict[str, Tensor], ids: Tensor, instead: dict[str, Tensor]
) -> dict[str, Tensor]:
    """All values, from the state dict alone; where one is given `instead`, it goes on from that."""
    kept: dict[str, Tensor] = {}
    gpt2, n_kv = config.family is GPT2, config.n_kv_heads

    def keep(name: str, value: Tensor) -> Tensor:
        kept[name] = instead.get(name, value)
        return kept[name]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0)

    def norm(x: Tensor, name: str) -> Tensor:
        mean = x.mean(-1, keepdim=True) if gpt2 else 0
        scale = ((x - mean) ** 2).mean(-1, keepdim=True) + 1e-5
        return (x - mean) / scale**0.5 * w[f"{name}.weight"] + w.get(f"{name}.bias", 0)

    def turned(x: Tensor) -> Tensor:
        """Each pair (i, i + D/2) of row t as a complex number, times e^(itθ)."""
        theta = torch.tensor([10_000.0 ** (-2 * i / D) for i in range(D // 2)])
        angle = (torch.arange(T)[:, None] * theta).double()
        pairs = torch.complex(x[..., : D // 2], x[..., D // 2 :])
        pairs = pairs * torch.polar(torch.ones_like(angle), angle)
        return torch.cat((pairs.real, pairs.imag), -1)

    def bent(x: Tensor, cap: float | None) -> Tensor:
        return x if cap is None else cap * torch.tanh(x / cap)

    x = w["embedding.weight"][ids]
    x = keep("embedding", x + w["positions.table.weight"][:T] if gpt2 else x)
    for i in range(config.n_layers):
        b = f"blocks.{i}."
        x = keep(b + "residual_before", x)
        n = keep(b + "attention_norm", norm(x, b + "attention_norm"))
        a = b + "attention."
        split = {}
        for p, heads in (("q", H), ("k", n_kv), ("v", n_kv)):
            y = keep(f"{a}{p}_proj", linear(n, f"{a}{p}_proj"))
            split[p] = torch.stack([y[..., h * D : h * D + D] for h in range(heads)], 1)
        q, k = (split[p] if gpt2 else turned(split[p]) for p in "qk")
        q, k, v = keep(a + "q", q), keep(a + "k", k), keep(a + "v", split["v"])
        scores = torch.full((len(ids), H, T, T), -math.inf, dtype=torch.float64)
        for h in range(H):
            for t in range(T):
                seen = slice(max(0, t + 1 - (config.window(i) or T)), t + 1)
                qk = (q[:, h, t, None] * k[:, h * n_kv // H, seen]).sum(-1)
                qk = qk * (config.score_scale or D**-0.5)
                scores[:, h, t, seen] = bent(qk, config.score_softcap)
        e = keep(a + "scores", scores).exp()
        weights = keep(a + "weights", e / e.sum(-1, keepdim=True))
        z = torch.stack([weights[:, h] @ v[:, h * n_kv // H] for h in range(H)], 1)
        z, out = keep(a + "z", z), w[a + "o_proj.weight"]
        heads = torch.stack([z[:, h] @ out[:, h * D : h * D + D].T for h in range(H)], 1)
        heads = keep(a + "heads", heads)
        x = x + keep(a + "output", sum(heads.unbind(1)) + w.get(a + "o_proj.bias", 0))
        x = keep(b + "residual_middle", x)
        if config.family is ATTENTION_ONLY:
            keep(b + "ffn_norm", x)
            x = x + keep(b + "ffn.output", torch.zeros_like(x))
        else:
            n = keep(b + "ffn_norm", norm(x, b + "ffn_norm"))
            if gpt2:
                up = keep(b + "ffn.up_proj", linear(n, b + "ffn.up_proj"))
                bend = torch.tanh(math.sqrt(2 / math.pi) * (up + 0.044715 * up**3))
                neurons = up / 2 * (1 + bend)
            else:
                gate = keep(b + "ffn.gate_proj", linear(n, b + "ffn.gate_proj"))
                up = keep(b + "ffn.up_proj", linear(n, b + "ffn.up_proj"))
                neurons = gate / (1 + (-gate).exp()) * up
            neurons = keep(b + "ffn.neurons", neurons)
            x = x + keep(b + "ffn.output", linear(neurons, b + "ffn.down_proj"))
        x = keep(b + "residual_after", x)
    n = keep("final_norm", norm(x, "final_norm"))
    tokens = w["embedding.weight" if config.tied else "unembedding.weight"]
    keep("logits", bent(n @ tokens.T, config.logit_softcap))
    return kept


@pytest.fixture(params=CONFIGS)
def config(request) -> DecoderConfig:
    return CONFIGS[request.param]


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(V, (2, T))


def test_every_value_is_that_of_the_forward_pass_written_out(config, ids):
    model = randomised(config)
    plain = model(ids)
    expected = by_hand(config, model.state_dict(), ids, {})
    with record(model, ["*"]) as values:
        out = model(ids)
    assert set(values) == set(names(model)) == set(expected)
    for name, value in values.items():
        assert torch.allclose(value, expected[name], atol=NEAR), name
    assert values["logits"] is out
    assert torch.allclose(out, plain, atol=1e-12)


def test_the_values_come_in_the_order_of_their_names(config, ids):
    model = randomised(config)
    assert list(values_of(model, ids, ["*"])) == names(model)


@pytest.mark.parametrize("config", [CONFIGS["llama"], CONFIGS["gpt2"]], ids=["llama", "gpt2"])
def test_a_value_replaced_is_a_value_replaced_by_hand(config, ids):
    model = randomised(config)
    clean = by_hand(config, model.state_dict(), ids, {})
    for name, value in clean.items():
        new = torch.randn_like(value)
        expected = by_hand(config, model.state_dict(), ids, {name: new})
        with patch(model, {name: new}), record(model, ["*"]) as values:
            out = model(ids)
        assert torch.equal(out, values["logits"])
        for other in clean:
            assert torch.allclose(values[other], expected[other], atol=NEAR), (name, other)
        assert not torch.allclose(out, clean["logits"], atol=1e-3), name


def test_patching_all_that_comes_in_gives_the_clean_run_and_nothing_changes_nothing(config, ids):
    model, other = randomised(config), torch.randint(V, (2, T))
    clean = model(ids)
    with record(model, ["embedding"]) as values:
        model(ids)
    assert not torch.allclose(model(other), clean, atol=1e-3)
    with patch(model, values):
        assert torch.equal(model(other), clean)
    with patch(model, {}):
        assert torch.equal(model(other), model(other))
    with record(model, ["*"]) as values:
        model(ids)
    with patch(model, values):
        assert torch.equal(model(other), values["logits"])


SIZES_THERE = {
    "vocab_size": V, "hidden_size": 60, "intermediate_size": 37, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 31,
    "rope_parameters": {"rope_type": "default", "rope_theta": 97.0},
}  # fmt: skip
PEERS = {
    "llama": LlamaConfig(**SIZES_THERE),
    "mistral": MistralConfig(**SIZES_THERE, sliding_window=4),
    "gemma 2": Gemma2Config(**SIZES_THERE, head_dim=14, sliding_window=4, pad_token_id=None,
                            query_pre_attn_scalar=17, attn_logit_softcapping=2.0),
    "gpt2": GPT2Config(vocab_size=V, n_positions=31, n_embd=60, n_layer=3, n_head=5, n_inner=37),
}  # fmt: skip


@pytest.mark.parametrize("kind", PEERS)
def test_streams_and_weights_are_transformers(kind, tmp_path, ids):
    PEERS[kind]._attn_implementation = "eager"
    peer = AutoModelForCausalLM.from_config(PEERS[kind]).eval()
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, mean=0.1 * (parameter.ndim < 2), std=0.2)
    peer.save_pretrained(tmp_path)
    ours = load_pretrained(tmp_path)
    with torch.no_grad():
        theirs = peer(ids, output_hidden_states=True, output_attentions=True)
    streams = values_of(ours, ids, ["blocks.*.residual_before", "final_norm"])
    for mine, other in zip(streams.values(), theirs.hidden_states, strict=True):
        assert torch.allclose(mine, other, atol=1e-4)
    weights = attention_weights(ours, ids)
    assert torch.allclose(weights, torch.stack(theirs.attentions), atol=1e-5)
    assert weights.std() > 0.1, "weights that are all alike would prove nothing"


DEEPSEEK = DecoderConfig(
    V, 23, 3, C, H, H, F, head_dim=6, latent=LatentSizes(7, 5, 2, 4, 3),
    experts=ExpertSizes(5, 2, 13, n_dense_layers=1),
)  # fmt: skip


def test_parts_that_are_not_there_have_no_names(ids):
    """Latent attention makes its keys from latents; experts share no neurons."""
    model = randomised(DEEPSEEK)
    plain, values = model(ids), values_of(model, ids, ["*"])
    assert torch.allclose(values["logits"], plain, atol=1e-12)
    assert "blocks.0.ffn.neurons" in values
    assert "blocks.1.ffn.neurons" not in values
    assert "blocks.0.attention.q_proj" in values
    assert "blocks.0.attention.k_proj" not in values
    assert values["blocks.2.attention.z"].shape == (2, H, T, 3)
    with pytest.raises(
        ValueError, match=r"no value is called 'blocks\.1\.ffn\.neurons'; there are"
    ):
        find(model, ["blocks.1.ffn.neurons"])


@pytest.mark.parametrize("config", [*CONFIGS.values(), DEEPSEEK], ids=[*CONFIGS, "deepseek"])
@pytest.mark.parametrize("cuts", [[4, 1, 1, 5], [1, 1, 1, 1, 1, 6]])
def test_with_caches_the_same_values_come_piece_by_piece(config, cuts, ids):
    model = randomised(config)
    whole, caches, start = values_of(model, ids, ["*"]), model.new_caches(2), 0
    pieces = []
    for chunk in ids.split(cuts, dim=1):
        with record(model, ["*"]) as values, torch.no_grad():
            model(chunk, caches)
        pieces.append((start, values))
        start += chunk.size(1)
    for start, values in pieces:  # after all, when the caches' rooms have been written over
        for name, value in values.items():
            full = whole[name]
            if name.endswith(("scores", "weights", "attention.k", "attention.v")):
                stop = start + values["embedding"].size(1)
                full = full[..., :stop, :] if name[-1] in "kv" else full[..., start:stop, :stop]
                n = value.size(-2 if name[-1] in "kv" else -1)
                full = full[..., -n:, :] if name[-1] in "kv" else full[..., -n:]
            else:
                full = full.narrow(-2, start, value.size(-2))
            assert torch.allclose(value, full, atol=1e-9), name


def test_padded_rows_are_as_if_alone(ids):
    model, padding = randomised(LLAMA), torch.tensor([0, 4])
    alone = values_of(model, ids[1:, 4:], ["*.attention.weights", "logits"])
    with record(model, ["*.attention.weights", "logits"]) as values:
        model(ids, padding=padding)
    for name, value in values.items():
        expected = value[1:, ..., 4:, 4:] if name.endswith("weights") else value[1:, 4:]
        assert torch.allclose(expected, alone[name], atol=1e-9), name


def test_values_carry_gradients(ids):
    """The gradient of a sum of logits in a stream is what finite differences say."""
    model, name = randomised(LLAMA), "blocks.1.residual_middle"
    with record(model, [name]) as values:
        out = model(ids)[:, -1].sum()
    slope = torch.autograd.grad(out, values[name])[0]
    step = 1e-5 * torch.randn_like(slope)
    with edited(model, {name: lambda x: x + step}), torch.no_grad():
        there = model(ids)[:, -1].sum()
    with edited(model, {name: lambda x: x - step}), torch.no_grad():
        back = model(ids)[:, -1].sum()
    assert (there - back).item() == pytest.approx(2 * (slope * step).sum().item(), rel=1e-5)
    assert not any(v.requires_grad for v in values_of(model, ids, ["*"]).values())


def test_the_outer_context_edits_first(ids):
    model, name = randomised(LLAMA), "blocks.0.residual_after"
    plain = values_of(model, ids, [name, "blocks.1.residual_before"])
    with record(model, [name]) as before, edited(model, {name: lambda x: 2 * x + 1}):
        with edited(model, {name: lambda x: x**2}), record(model, ["*.residual_*"]) as after:
            model(ids)
        assert torch.equal(before[name], plain[name])
        assert torch.equal(after[name], (2 * plain[name] + 1) ** 2)
        assert torch.equal(after["blocks.1.residual_before"], after[name])
        model(ids)
        assert torch.equal(before[name], plain[name])


def test_a_pattern_edits_every_value_that_it_fits(ids):
    """It once passed as a name that exists, and then edited nothing."""
    model = randomised(LLAMA)
    every = {f"blocks.{i}.ffn.output": torch.zeros(2, T, C).double() for i in range(2)}
    with patch(model, every):
        expected = model(ids)
    with patch(model, {"*.ffn.output": torch.zeros(2, T, C).double()}):
        assert torch.equal(model(ids), expected)
    assert not torch.allclose(model(ids), expected, atol=1e-3)


def untouched(model: Decoder) -> bool:
    hooks = (m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    return not any(hooks) and not any("forward" in vars(m) for m in model.modules())


def test_nothing_is_left_behind(ids):
    model = randomised(LLAMA)
    plain = model(ids)
    values_of(model, ids, ["*"])
    assert untouched(model)
    with pytest.raises(KeyError, match="ours"), record(model, ["*"]), record(model, ["logits"]):
        raise KeyError("ours")
    assert untouched(model)
    with pytest.raises(ValueError, match="is outside 0…52"), record(model, ["*"]):
        model(ids + V)
    with pytest.raises(ValueError, match="no value"), record(model, ["logits", "embeding"]):
        pass
    assert untouched(model)
    assert torch.equal(model(ids), plain)


@pytest.mark.parametrize(
    ("name", "near"),
    [("embeding", "there are embedding"), ("blocks.0.atention.q", r"there are .*attention\.q"),
     ("blocks.2.residual_after", r"there are .*blocks\.1\.residual_after"),
     ("", r"there are embedding, blocks\.\*\.residual_before, .*final_norm, logits$"),
     ("blocks.*.pattern", "there are .*blocks")],
)  # fmt: skip
def test_an_unknown_name_brings_the_names_near_it(name, near):
    with pytest.raises(ValueError, match=f"no value is called '{re.escape(name)}'; {near}"):
        find(Decoder(LLAMA), [name])


def test_a_value_of_another_shape_is_refused(ids):
    model = Decoder(LLAMA)
    with (
        patch(model, {"blocks.1.attention.z": torch.zeros(2, H, T, D + 1)}),
        pytest.raises(ValueError, match=r"z has shape \(2, 3, 11, 10\), got \(2, 3, 11, 11\)"),
    ):
        model(ids)
    assert untouched(model)


def test_it_works_where_the_model_is(place):
    model, ids = Decoder(LLAMA).to(place.device, place.dtype), torch.randint(V, (2, T))
    ids = ids.to(place.device)
    plain, values = model(ids), values_of(model, ids, ["*"])
    assert torch.allclose(values["logits"], plain, atol=place.tolerance)
    assert {v.dtype for v in values.values()} == {place.dtype}
    with patch(model, {"embedding": values["embedding"]}):
        assert torch.equal(model(ids.flip(0)), plain)


def test_two_edits_of_one_value_are_refused(ids):
    model = randomised(DecoderConfig(53, 19, 2, 12, 2, 1, 7))
    edits = {"*.ffn.output": torch.zeros_like, "blocks.0.ffn.output": torch.ones_like}
    with pytest.raises(ValueError, match=r"not the only name here for blocks\.0\.ffn\.output"):
        with edited(model, edits):
            model(ids)
