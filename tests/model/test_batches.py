"""Prompts of unequal length in one batch, against `transformers` and against each alone."""

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, MistralConfig

from tutor_lib.model.fast import FastDecoder
from tutor_lib.model.pretrained import load_pretrained
from tutor_lib.predict.generate import generate, pad_left
from tutor_lib.predict.sampling import Sampler
from tutor_lib.train.storyteller import load_storyteller

SIZES = {
    "vocab_size": 53, "hidden_size": 60, "intermediate_size": 37, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 31,
    "bos_token_id": None, "eos_token_id": None,
}  # fmt: skip
PEERS = {
    "llama": LlamaConfig(**SIZES),
    "mistral": MistralConfig(**SIZES, sliding_window=5),
    "gpt2": GPT2Config(vocab_size=53, n_positions=31, n_embd=60, n_layer=3, n_head=5,
                       bos_token_id=None, eos_token_id=None),
}  # fmt: skip
TEXTS = [[7, 3, 11], [5, 2, 13, 17, 19, 23, 29], [31], [41, 37, 43, 1, 47]]


@pytest.mark.parametrize("name", PEERS)
def test_each_row_goes_on_as_transformers_says_and_as_if_alone(name, tmp_path):
    peer = AutoModelForCausalLM.from_config(PEERS[name]).eval()
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, mean=0.3 * (parameter.ndim < 2), std=0.3)
    peer.save_pretrained(tmp_path)
    ours, greedy = load_pretrained(tmp_path), Sampler(temperature=0.0)
    ids, padding = pad_left(TEXTS)
    seen = torch.arange(7) >= padding[:, None]
    theirs = peer.generate(ids, attention_mask=seen.long(), do_sample=False, max_new_tokens=13,
                           pad_token_id=0)[:, 7:]  # fmt: skip
    models = [ours] if name == "gpt2" else [ours, FastDecoder(ours)]
    for model in models:
        made = torch.stack(list(generate(model, ids, 13, greedy, padding=padding)), dim=1)
        assert torch.equal(made, theirs)
    for text, row in zip(TEXTS, theirs, strict=True):
        alone = torch.cat(list(generate(ours, torch.tensor([text]), 13, greedy)))
        assert torch.equal(alone, row)


def test_what_fills_a_row_up_is_not_penalised():
    model, _ = load_storyteller()
    sampler = Sampler(temperature=0.0, repetition_penalty=3.0)
    texts = [[300, 301], [310, 311, 312, 313, 314]]
    for fill in (0, int(model(torch.tensor(texts[:1]))[0, -1].argmax())):
        ids, padding = pad_left(texts, fill)
        made = torch.stack(list(generate(model, ids, 17, sampler, padding=padding)), dim=1)
        for text, row in zip(texts, made, strict=True):
            alone = list(generate(model, torch.tensor([text]), 17, sampler))
            assert torch.equal(torch.cat(alone), row)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"at least one token, got lengths \[2, 0\]"):
        pad_left([[1, 2], []])
    with pytest.raises(ValueError, match=r"got lengths \[\]"):
        pad_left([])
    with pytest.raises(ValueError, match=r"padding must lie in 0…1, got \[0, 2\]"):
        generate(load_storyteller()[0], torch.zeros(2, 2).long(), 1, padding=torch.tensor([0, 2]))
