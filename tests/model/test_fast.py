"""The packed decoder against the readable one and against `transformers`."""

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, Qwen2Config

from tutor_lib.embed.rope_scaling import DynamicNTKScaling
from tutor_lib.model.config import DecoderConfig, ExpertSizes
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.families import GEMMA2, GPT2
from tutor_lib.model.fast import FastDecoder
from tutor_lib.model.pretrained import load_pretrained
from tutor_lib.predict.generate import generate
from tutor_lib.predict.sampling import Sampler

SIZES = {
    "vocab_size": 53, "hidden_size": 60, "intermediate_size": 37, "num_hidden_layers": 3,
    "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 31,
    "head_dim": 10, "rope_parameters": {"rope_type": "default", "rope_theta": 97.0},
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 97.0, "factor": 3.0,
        "original_max_position_embeddings": 11}  # fmt: skip
PEERS = {
    "llama": LlamaConfig(**SIZES),
    "llama, one head each, tied": LlamaConfig(
        **SIZES | {"num_key_value_heads": 6}, tie_word_embeddings=True
    ),
    "llama, YaRN": LlamaConfig(**SIZES | {"rope_parameters": YARN}),
    "mistral": MistralConfig(**SIZES, sliding_window=7),
    "qwen 2.5": Qwen2Config(**SIZES),
}
IDS = torch.randint(53, (2, 29), generator=torch.Generator().manual_seed(7))


@pytest.fixture(params=PEERS)
def peer(request):
    model = AutoModelForCausalLM.from_config(PEERS[request.param])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=0.3 * (parameter.ndim < 2), std=0.2)
    return model.eval()


@torch.no_grad()
def test_logits_are_transformers_whole_and_in_pieces(peer, tmp_path, place):
    peer.save_pretrained(tmp_path)
    fast = FastDecoder(load_pretrained(tmp_path, place.dtype, place.device))
    ids = IDS.to(place.device)
    expected = peer(IDS).logits.to(place.device, place.dtype)
    close = max(place.tolerance, 1e-4) * expected.std()
    assert (fast(ids) - expected).abs().max() < close
    for cuts in ([29], [6, 23], [5, 1, 1, 1, 3, 1, 17], [1] * 29):
        caches = fast.new_caches(2)
        logits = torch.cat([fast(chunk, caches) for chunk in ids.split(cuts, dim=1)], dim=1)
        assert (logits - expected).abs().max() < close, cuts


def test_padded_rows_are_as_if_alone(peer, tmp_path):
    peer.save_pretrained(tmp_path)
    fast, padding = FastDecoder(load_pretrained(tmp_path)), torch.tensor([0, 11])
    with torch.no_grad():
        alone = peer(IDS[1:, 11:]).logits[0]
    caches = fast.new_caches(2)
    parts = [fast(chunk, caches, padding) for chunk in IDS.split([13, 8, 1, 1, 6], dim=1)]
    assert (torch.cat(parts, dim=1)[1, 11:] - alone).abs().max() < 1e-4


def test_it_generates_what_the_decoder_does(peer, tmp_path):
    peer.save_pretrained(tmp_path)
    model = load_pretrained(tmp_path)
    for sampler in (Sampler(temperature=0.0), Sampler(temperature=1.3, top_p=0.9)):
        made = []
        for which in (model, FastDecoder(model)):
            tokens = generate(which, IDS[:, :7], 23, sampler, torch.Generator().manual_seed(1))
            made.append(torch.stack(list(tokens)))
        assert torch.equal(*made)


BASE = {"vocab_size": 53, "context_length": 31, "n_layers": 1, "d_model": 60, "n_heads": 6,
        "n_kv_heads": 6, "d_ff": 37}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"family": GPT2}, "this one has norm="),
        ({"family": GEMMA2}, "this one has norm="),
        ({"experts": ExpertSizes(5, 2, 7)}, "this one has experts="),
        ({"score_softcap": 3.0}, "score_softcap=3.0"),
        (
            {"rope_scaling": DynamicNTKScaling(2.0, 7)},
            "one table of angles is kept, not that of DynamicNTK",
        ),
    ],
)
def test_decoders_it_cannot_pack_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        FastDecoder(Decoder(DecoderConfig(**BASE, **change)))


def test_bad_input_is_named():
    fast = FastDecoder(Decoder(DecoderConfig(**BASE)))
    with pytest.raises(ValueError, match="token id 53 is outside 0…52"):
        fast(torch.tensor([[3, 53]]))
    with pytest.raises(ValueError, match="token id -1 is outside 0…52"):
        fast(torch.tensor([[-1]]))
    caches = fast.new_caches(1, 3)
    fast(torch.tensor([[3, 5, 7]]), caches)
    with pytest.raises(ValueError, match="holds 3 positions, 4 are needed"):
        fast(torch.tensor([[3]]), caches)
    rolling = FastDecoder(Decoder(DecoderConfig(**BASE, windows=(7,))))
    caches = rolling.new_caches(1)
    rolling(torch.zeros(1, 31, dtype=torch.long), caches)
    with pytest.raises(ValueError, match="32 tokens do not fit the context of 31"):
        rolling(torch.tensor([[3]]), caches)
    with pytest.raises(ValueError, match="32 tokens do not fit the context of 31"):
        fast(torch.zeros(1, 32, dtype=torch.long))
