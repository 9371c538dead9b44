"""Logit lens, attribution, ablation, patching: against weights changed by hand, and loops."""

import random
import re

import pytest
import torch
from torch import Tensor

from tutor_lib.inside.ablate import with_mean_head, with_mean_neuron, without_head, without_neuron
from tutor_lib.inside.lens import frozen, logit_lens, logit_parts
from tutor_lib.inside.patch import patch, recovered_grid
from tutor_lib.inside.trace import record, values_of
from tutor_lib.model.checkpoint_config import write_config
from tutor_lib.model.config import DecoderConfig, ExpertSizes
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import ATTENTION_ONLY, GEMMA2, GPT2
from tutor_lib.model.fast import FastDecoder
from tutor_lib.model.pretrained import load_weights, save_weights
from tutor_lib.model.zoo import count_parameters, flops_per_token
from tutor_lib.train.corpus import referents
from tutor_lib.train.storyteller import load_storyteller
from tutor_lib.train.words import FEELINGS

V, T, C, H, D, F, L = 53, 7, 30, 3, 10, 17, 2
SIZES = {"vocab_size": V, "context_length": 23, "n_layers": L, "d_model": C, "n_heads": H,
         "n_kv_heads": 1, "d_ff": F, "norm_eps": 0.1}  # fmt: skip
CONFIGS = {
    "llama": DecoderConfig(**SIZES, tied=False),
    "gpt2": DecoderConfig(**SIZES | {"n_kv_heads": H}, family=GPT2),
    "gemma": DecoderConfig(**SIZES, family=GEMMA2),
    "experts": DecoderConfig(**SIZES, experts=ExpertSizes(5, 2, 13, n_dense_layers=1)),
    "attention only": DecoderConfig(**SIZES, family=ATTENTION_ONLY),
}


@pytest.fixture(params=CONFIGS)
def config(request) -> DecoderConfig:
    return CONFIGS[request.param]


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(V, (2, T))


def randomised(config: DecoderConfig) -> Decoder:
    model = Decoder(config).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 * (parameter.ndim < 2), std=0.2)
    return model


def test_the_lens_reads_the_model_cut_off_after_each_layer(config, ids):
    model = randomised(config)
    seen = logit_lens(model, ids)
    assert seen.shape == (L + 1, 2, T, V)
    assert torch.allclose(seen[L], model(ids), atol=1e-12)
    for depth in (1, 0):
        del model.blocks[depth]
        assert torch.allclose(seen[depth], model(ids), atol=1e-12)


def test_the_parts_sum_to_the_logit(config, ids):
    model, tokens = randomised(config), torch.tensor([5, 41])
    parts, logits = logit_parts(model, ids, tokens), model(ids)[:, -1]
    assert torch.allclose(parts.total(), logits[[0, 1], tokens], atol=1e-10)
    assert parts.heads.shape == (L, H, 2)
    assert parts.heads.std() > 0.05, "parts that are all alike would prove nothing"


def test_the_parts_are_those_of_the_formula(ids):
    """GPT-2's last norm at x: g (y - mean y) / σ(x) + b; a head adds its columns of W_O times z."""
    model, tokens = randomised(CONFIGS["gpt2"]), torch.tensor([5, 41])
    parts, values = logit_parts(model, ids, tokens), values_of(model, ids, ["*"])
    norm, table = model.final_norm, model.embedding.weight
    for b, token in enumerate(tokens):
        x = values["blocks.1.residual_after"][b, -1]

        def logit(y: Tensor, x: Tensor = x, token: Tensor = token) -> float:
            sigma = (x.var(correction=0) + 0.1).sqrt()
            return ((norm.weight * (y - y.mean()) / sigma) @ table[token]).item()

        assert parts.embedding[b].item() == pytest.approx(logit(values["embedding"][b, -1]))
        assert parts.norm_bias[b].item() == pytest.approx((norm.bias @ table[token]).item())
        for i, block in enumerate(model.blocks):
            out = block.attention.o_proj
            assert parts.attention_bias[i, b].item() == pytest.approx(logit(out.bias))
            written = values[f"blocks.{i}.ffn.output"][b, -1]
            assert parts.ffns[i, b].item() == pytest.approx(logit(written))
            for h in range(H):
                z = values[f"blocks.{i}.attention.z"][b, h, -1]
                alone = logit(out.weight[:, h * D : h * D + D] @ z)
                assert parts.heads[i, h, b].item() == pytest.approx(alone)


@pytest.mark.parametrize("config", [CONFIGS["llama"], CONFIGS["gpt2"]], ids=["llama", "gpt2"])
@pytest.mark.parametrize(("layer", "head"), [(0, 0), (1, 2)])
def test_a_head_switched_off_is_a_head_whose_output_matrix_is_zero(config, layer, head, ids):
    """The oracle changes weights, not activations: no column of `o_proj` reads the head."""
    model = randomised(config)
    before = model(ids)
    with without_head(model, layer, head):
        silenced = model(ids)
    assert torch.equal(model(ids), before), "the edit is gone"
    with torch.no_grad():
        model.blocks[layer].attention.o_proj.weight[:, head * D : head * D + D] = 0
    assert torch.allclose(silenced, model(ids), atol=1e-12)
    assert not torch.allclose(silenced, before, atol=1e-3)


@pytest.mark.parametrize("config", [CONFIGS["llama"], CONFIGS["gpt2"]], ids=["llama", "gpt2"])
def test_a_neuron_switched_off_is_a_neuron_that_nobody_reads(config, ids):
    model = randomised(config)
    before = model(ids)
    with without_neuron(model, 1, 16):
        silenced = model(ids)
    with torch.no_grad():
        model.blocks[1].ffn.down_proj.weight[:, 16] = 0
    assert torch.allclose(silenced, model(ids), atol=1e-12)
    assert not torch.allclose(silenced, before, atol=1e-3)


def test_a_head_or_neuron_at_its_mean_is_a_constant_in_a_bias(ids):
    """The oracle moves W times the mean, added up token by token, into GPT-2's bias."""
    model, others = randomised(CONFIGS["gpt2"]), torch.randint(V, (3, 5))
    with record(model, ["blocks.0.attention.z", "blocks.1.ffn.neurons"]) as values:
        model(others)
    z, neurons = values["blocks.0.attention.z"], values["blocks.1.ffn.neurons"]
    mean_z = sum(z[b, 2, t] for b in range(3) for t in range(5)) / 15
    mean_neuron = sum(neurons[b, t, 4] for b in range(3) for t in range(5)) / 15
    head, neuron = with_mean_head(model, 0, 2, others), with_mean_neuron(model, 1, 4, others)
    with head, neuron:
        changed = model(ids)
    out, down = model.blocks[0].attention.o_proj, model.blocks[1].ffn.down_proj
    with torch.no_grad():
        out.bias += out.weight[:, 20:30] @ mean_z
        out.weight[:, 20:30] = 0
        down.bias += down.weight[:, 4] * mean_neuron
        down.weight[:, 4] = 0
    assert torch.allclose(changed, model(ids), atol=1e-12)


@pytest.mark.parametrize(
    ("off", "what"),
    [(without_head, "head"), (without_neuron, "neuron"), (with_mean_head, "head"),
     (with_mean_neuron, "neuron")],
)  # fmt: skip
@pytest.mark.parametrize(("layer", "index"), [(2, 0), (0, F), (-1, 0), (0, -1)])
def test_a_head_or_neuron_that_is_not_there_is_named(off, what, layer, index, ids):
    model, more = Decoder(CONFIGS["llama"]), [ids] if "mean" in off.__name__ else []
    with (
        pytest.raises(ValueError, match=f"no {what} {index} of layer {layer}; 2 layers have"),
        off(model, layer, index, *more),
    ):
        pass


def test_experts_have_no_neurons_to_switch_off():
    with (
        pytest.raises(ValueError, match="neurons"),
        without_neuron(Decoder(CONFIGS["experts"]), 1, 0),
    ):
        pass


@pytest.mark.parametrize("value", ["residual_before", "attention.output", "ffn.output"])
def test_the_grid_is_a_loop_over_layers_and_positions(config, value):
    model = randomised(config)
    clean, corrupted = torch.randint(V, (2, T))
    grid = recovered_grid(model, clean, corrupted, (5, 41), value)
    if config.family is ATTENTION_ONLY and value == "ffn.output":
        assert torch.allclose(grid, torch.zeros(L, T).double(), atol=1e-9)
        return

    def difference(ids: Tensor) -> float:
        logits = model(ids[None])[0, -1]
        return (logits[5] - logits[41]).item()

    low, high = difference(corrupted), difference(clean)
    for layer in range(L):
        name = f"blocks.{layer}.{value}"
        kept = values_of(model, clean[None], [name])[name]
        for t in range(T):
            mixed = values_of(model, corrupted[None], [name])[name].clone()
            mixed[0, t] = kept[0, t]
            with patch(model, {name: mixed}):
                expected = (difference(corrupted) - low) / (high - low)
            assert grid[layer, t].item() == pytest.approx(expected, abs=1e-9)


def test_the_last_position_of_the_last_stream_brings_all_back_and_a_common_past_nothing():
    model, clean = randomised(CONFIGS["llama"]), torch.randint(V, (T,))
    corrupted = clean.clone()
    corrupted[4] = (clean[4] + 1) % V
    grid = recovered_grid(model, clean, corrupted, (5, 41), "residual_after")
    assert grid[-1, -1].item() == pytest.approx(1)
    assert grid[-1, :-1].abs().max() < 1e-9
    assert grid[:, :4].abs().max() < 1e-9
    first = recovered_grid(model, clean, corrupted, (5, 41))[0]
    assert first[4].item() == pytest.approx(1)


@pytest.mark.usefixtures("unchecked_shapes")
def test_what_cannot_be_told_apart_is_refused():
    model, text = Decoder(CONFIGS["llama"]), torch.zeros(T, dtype=torch.long)
    with pytest.raises(ValueError, match="both texts have the difference of logits"):
        recovered_grid(model, text, text, (5, 41))
    with pytest.raises(ValueError, match="the texts have 7 and 6 tokens"):
        recovered_grid(model, text, text[1:], (5, 41))
    with pytest.raises(ValueError, match=r"no value is called 'blocks\.0\.residual'"):
        recovered_grid(model, text, text + 1, (5, 41), "residual")


@pytest.mark.usefixtures("unchecked_shapes")
def test_a_logit_that_is_no_sum_is_refused(ids):
    capped, model = Decoder(DecoderConfig(**SIZES, logit_softcap=3.0)), Decoder(CONFIGS["llama"])
    for call, message in [
        (lambda: logit_parts(capped, ids, ids[:, 0]), "capped at 3.0 are no sum"),
        (lambda: logit_parts(model, ids, ids[:1, 0]), "1 tokens for ids of shape (2, 7)"),
        (lambda: logit_parts(model, ids[:, :0], ids[:, 0]), "2 tokens for ids of shape (2, 0)"),
        (lambda: logit_parts(model, ids, ids[:, 0] + V), "is outside 0…52"),
        (lambda: frozen(torch.nn.Linear(2, 2), torch.ones(2)), "could be frozen: Linear"),
    ]:
        with pytest.raises(ValueError, match=re.escape(message)):
            call()


def test_an_attention_only_model_is_its_attention_alone(ids):
    """Same weights in a Llama whose FFN writes nothing; and no parameter is left untrained."""
    ours, llama = randomised(CONFIGS["attention only"]), randomised(DecoderConfig(**SIZES))
    missing = llama.load_state_dict(ours.state_dict(), strict=False)
    assert all(".ffn" in name for name in missing.missing_keys)
    assert not missing.unexpected_keys
    for block in llama.blocks:
        torch.nn.init.zeros_(block.ffn.down_proj.weight)
    out = ours(ids)
    assert torch.allclose(out, llama(ids), atol=1e-12)
    out.sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in ours.parameters())


def test_an_attention_only_model_is_counted_saved_and_refused_as_it_is(tmp_path):
    config = CONFIGS["attention only"]
    model = Decoder(config)
    sizes = V * C + L * (C + 2 * C * C + 2 * C * D) + C  # Q and O are C · C, K and V are C · D
    assert sum(p.numel() for p in model.parameters()) == sizes
    assert count_parameters(config).total == count_parameters(config).active == sizes
    # Per token: 2 for each weight of a matrix, and 2 · 2D for each head and position looked at.
    matrices = V * C + L * (2 * C * C + 2 * C * D)
    assert flops_per_token(config, 7) == 2 * matrices + L * H * 7 * 4 * D
    save_weights(model, tmp_path / "weights.safetensors")
    again = Decoder(config)
    load_weights(again, tmp_path / "weights.safetensors")
    ids = torch.randint(V, (2, T))
    assert torch.equal(again(ids), model(ids))
    with pytest.raises(ValueError, match=r"ffn=.*NoFeedForward"):
        FastDecoder(model)
    with pytest.raises(ValueError, match="a llama checkpoint cannot say all of"):
        write_config(config)


@pytest.fixture(scope="module")
def prompts() -> list[tuple[Tensor, Tensor, int, int, int]]:
    """Sentences never trained on, each with an animal's reason and with a thing's: the place of
    the reason, the noun that the first names, and the second's."""
    _, tokenizer = load_storyteller()
    rng, made = random.Random(13), []
    while len(made) < 20:
        drawn = referents(rng, held_out=True)
        reason = drawn.prompt.split()[-3].strip(",")
        swapped = "soft" if reason in FEELINGS else "tired"
        first, second = (
            torch.tensor(tokenizer.encode(text))
            for text in (drawn.prompt, drawn.prompt.replace(f" {reason},", f" {swapped},"))
        )
        (place,) = (first != second).nonzero().flatten().tolist()
        nouns = (tokenizer.encode(f" {noun}")[0] for noun in (drawn.referent, drawn.other))
        made.append((first, second, place, *nouns))
    return made


@torch.no_grad()
def test_the_storyteller_names_the_other_noun_when_the_deciding_word_is_patched(prompts):
    """In "because it was tired, so the" the reason decides who comes next."""
    model, _ = load_storyteller()
    before = after = 0
    for first, second, place, referent, other in prompts:
        patched = values_of(model, first[None], ["embedding"])["embedding"].clone()
        with record(model, ["embedding"]) as values:
            expected = model(second[None])
        patched[0, place] = values["embedding"][0, place]
        before += model(first[None])[0, -1].argmax().item() == referent
        with patch(model, {"embedding": patched}):
            out = model(first[None])
        assert torch.equal(out, expected), "only that word differs"
        after += out[0, -1].argmax().item() == other
    assert before >= 18
    assert after >= 18


def test_the_storytellers_decision_moves_from_the_reason_to_the_end(prompts):
    model, _ = load_storyteller()
    for first, second, place, referent, other in prompts[:5]:
        grid = recovered_grid(model, first, second, (referent, other), "residual_after")
        assert grid[-1, -1].item() == pytest.approx(1, abs=1e-4)
        assert grid[:, :place].abs().max() < 1e-4
        start = recovered_grid(model, first, second, (referent, other))
        assert start[0, place].item() == pytest.approx(1, abs=1e-4)


def test_the_storyteller_knows_the_referent_after_its_last_layers_alone(prompts):
    model, _ = load_storyteller()
    named = torch.zeros(4)
    for first, _, _, referent, other in prompts:
        seen = logit_lens(model, first[None])[:, 0, -1]
        named += (seen[:, referent] > seen[:, other]).float()
        parts = logit_parts(model, first[None], torch.tensor([referent]))
        assert parts.total().item() == pytest.approx(seen[-1, referent].item(), abs=1e-3)
    assert named[-1] >= 19
