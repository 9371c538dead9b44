"""The decoder against `transformers`' Llama with the same weights, and against itself cached."""

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

from tests.llama import llama_of, their_name
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.pretrained import load_weights, save_weights
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler

CONFIG = DecoderConfig(
    vocab_size=53, context_length=19, n_layers=3, d_model=60, n_heads=6, n_kv_heads=2, d_ff=37,
    rope_base=97.0,
)  # fmt: skip


@pytest.fixture
def model() -> Decoder:
    torch.manual_seed(5)
    model = Decoder(CONFIG)
    for parameter in model.parameters():  # bigger than at the start, so that heads differ
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.fixture
def llama(model) -> LlamaForCausalLM:
    return llama_of(model)


def random_ids(batch: int, length: int) -> torch.Tensor:
    return torch.randint(
        CONFIG.vocab_size, (batch, length), generator=torch.Generator().manual_seed(7)
    )


def test_logits_and_gradients_equal_llamas(model, llama):
    ids = random_ids(3, CONFIG.context_length)
    ours, theirs = model(ids), llama(ids).logits
    assert (ours - theirs).abs().max() < 1e-4
    assert ours.std() > 0.5, "the comparison would see nothing in logits that are all alike"
    seed = torch.randn_like(ours)
    ours.backward(seed)
    theirs.backward(seed)
    peer = dict(llama.named_parameters())
    for name, parameter in model.named_parameters():
        expected = peer[their_name(name)].grad
        assert torch.allclose(parameter.grad, expected, rtol=1e-3, atol=1e-3), name


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("prompt_length", [1, 2, 11, CONFIG.context_length])
def test_cached_generation_equals_uncached_token_for_token(model, batch, prompt_length):
    prompt = random_ids(batch, prompt_length)
    new_tokens = CONFIG.context_length - prompt_length + 1
    made = torch.stack(list(generate(model, prompt, new_tokens, Sampler(temperature=0.0))), dim=1)
    ids = prompt
    for i in range(new_tokens):
        expected = model(ids)[:, -1].argmax(-1)  # every token computed anew
        assert torch.equal(made[:, i], expected)
        ids = torch.cat((ids, expected[:, None]), dim=1)
    assert made.shape == (batch, new_tokens)


@torch.no_grad()
def test_cached_logits_equal_uncached_in_chunks(model):
    ids = random_ids(2, 17)
    caches = model.new_caches(2)
    parts = [model(chunk, caches) for chunk in ids.split([5, 1, 7, 1, 3], dim=1)]
    assert torch.allclose(torch.cat(parts, dim=1), model(ids), atol=1e-4)


def test_generation_streams_and_repeats_from_its_seed(model):
    def run(seed: int) -> list[list[int]]:
        generator = torch.Generator().manual_seed(seed)
        return [t.tolist() for t in generate(model, random_ids(2, 3), 7, generator=generator)]

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert next(generate(model, random_ids(2, 3), 7)).shape == (2,)


def test_weights_survive_a_file(model, tmp_path):
    save_weights(model, tmp_path / "w.safetensors")
    again = Decoder(CONFIG)
    load_weights(again, tmp_path / "w.safetensors")
    assert torch.equal(again(random_ids(1, 5)), model(random_ids(1, 5)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("final_norm.weight"), "lacks final_norm.weight"),
        (lambda w: w.update(extra=torch.zeros(1)), "does not know: extra"),
        (
            lambda w: w.update({"final_norm.weight": torch.zeros(59)}),
            r"final_norm.weight is \(59,\) in the file, \(60,\) in the model",
        ),
    ],
)
def test_a_weights_file_of_another_model_is_named_and_changes_nothing(
    model, tmp_path, change, message
):
    before = {name: p.clone() for name, p in model.state_dict().items()}
    weights = {name: p * 2 for name, p in before.items()}
    change(weights)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=message):
        load_weights(model, tmp_path / "w.safetensors")
    assert all(torch.equal(before[name], p) for name, p in model.state_dict().items())


def test_a_file_that_is_no_weights_file_is_named(model, tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="not a safetensors file"):
        load_weights(model, tmp_path / "w.safetensors")


def test_bad_input_is_named(model):
    with pytest.raises(ValueError, match=r"token id 53 is outside 0…52"):
        model(torch.tensor([[3, 53]]))
    with pytest.raises(ValueError, match="token id -1 "):
        model(torch.tensor([[-1]]))
    with pytest.raises(ValueError, match="20 tokens do not fit the context of 19"):
        model(random_ids(1, 20))
    with pytest.raises(ValueError, match="20 tokens do not fit the context of 19"):
        generate(model, random_ids(1, 20), 1)
    with pytest.raises(ValueError, match="20 tokens do not fit"):
        generate(model, random_ids(1, 18), 3)
    with pytest.raises(ValueError, match="the prompt is empty"):
        generate(model, random_ids(1, 0), 1)
    with pytest.raises(ValueError, match="max_new_tokens must be at least 1, got 0"):
        generate(model, random_ids(1, 1), 0)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_heads": 7}, "n_heads=7 does not divide d_model=60"),
        ({"n_kv_heads": 4}, "n_kv_heads=4 does not divide n_heads=6"),
        ({"n_heads": 12, "n_kv_heads": 2}, "must be even for RoPE, got 5"),
        ({"n_layers": 0}, "n_layers must be positive, got 0"),
        ({"d_ff": -3}, "d_ff must be positive, got -3"),
    ],
)
def test_sizes_that_do_not_fit_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        DecoderConfig(**(vars(CONFIG) | sizes))
