"""The original transformer and T5 against PyTorch's and `transformers`', with the same weights."""

import math
import re
from dataclasses import replace

import pytest
import torch
import transformers
from torch import nn
from transformers import GenerationConfig, MarianConfig, MarianMTModel, T5ForConditionalGeneration

from tutor_lib.model.layers import LayerParts, PreNorm
from tutor_lib.model.seq2seq import Transformer, TransformerConfig
from tutor_lib.model.t5 import T5, T5_V1_1, T5Config
from tutor_lib.predict.beam import beam_search
from tutor_lib.predict.generate import LanguageModel, generate
from tutor_lib.predict.sampling import Sampler

SIZES = {"vocab_size": 53, "context_length": 31, "n_layers": 3, "d_model": 30, "n_heads": 5,
         "d_ff": 37}  # fmt: skip
ORIGINAL = TransformerConfig(**SIZES)
T5_1_0 = T5Config(**SIZES, head_dim=7, n_buckets=8, max_distance=13)
T5_1_1 = replace(T5_1_0, parts=T5_V1_1, tied=False)

B, S, T = 2, 29, 23
DRAW = torch.Generator().manual_seed(7)
SOURCE, TARGET = (torch.randint(2, 52, (B, n), generator=DRAW) for n in (S, T))
MASKS = {
    "none": None,
    "right": torch.arange(S) < torch.tensor([S, 17])[:, None],
    "left": torch.arange(S) >= torch.tensor([0, 13])[:, None],
}
START = torch.zeros(B, 1, dtype=torch.long)


class PyTorchs(nn.Module):
    """`torch.nn`'s layers, a last norm only where each layer's come first; the paper's two ends."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        sizes = (config.d_model, config.n_heads, config.d_ff)
        before = config.parts.residual is PreNorm
        layers = [
            kind(*sizes, dropout=0.0, batch_first=True, norm_first=before)
            for kind in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
        ]
        norms = [nn.LayerNorm(config.d_model) if before else None for _ in layers]
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = nn.TransformerEncoder(
            layers[0], config.n_layers, norms[0], enable_nested_tensor=False
        )
        self.decoder = nn.TransformerDecoder(layers[1], config.n_layers, norms[1])

    def forward(self, source, target, mask):
        hidden = None if mask is None else ~mask
        x = self.encoder(self.embed(source), src_key_padding_mask=hidden)
        ahead = torch.ones(2 * target.shape[1:], dtype=torch.bool, device=x.device).triu(1)
        x = self.decoder(self.embed(target), x, tgt_mask=ahead, memory_key_padding_mask=hidden)
        return x @ self.embedding.weight.T

    def embed(self, ids):
        width = self.embedding.embedding_dim
        rows = [
            [
                (math.sin if i % 2 == 0 else math.cos)(t / 10_000 ** (i // 2 * 2 / width))
                for i in range(width)
            ]
            for t in range(ids.size(1))
        ]
        x = math.sqrt(width) * self.embedding(ids)
        return x + torch.tensor(rows, dtype=x.dtype, device=x.device)


def marian(config: TransformerConfig) -> MarianMTModel:
    stacks = {"layers": config.n_layers, "attention_heads": config.n_heads, "ffn_dim": config.d_ff}
    both = {f"{part}_{k}": n for k, n in stacks.items() for part in ("encoder", "decoder")}
    model = MarianMTModel(
        MarianConfig(
            vocab_size=config.vocab_size,
            d_model=config.d_model,
            max_position_embeddings=config.context_length,
            activation_function="relu",
            scale_embedding=True,
            dropout=0.0,
            pad_token_id=52,  # its embedding learns nothing where it is looked up
            decoder_start_token_id=0,
            eos_token_id=None,
            forced_eos_token_id=None,
            **both,
        )
    )
    for part in (model.model.encoder, model.model.decoder):
        table = part.embed_positions.weight  # all sines, then all cosines
        table.data = torch.stack(table.chunk(2, dim=1), dim=-1).flatten(1)
    return model


def t5(config: T5Config) -> T5ForConditionalGeneration:
    model = T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=config.vocab_size,
            d_model=config.d_model,
            d_kv=config.head_size,
            d_ff=config.d_ff,
            num_layers=config.n_layers,
            num_heads=config.n_heads,
            relative_attention_num_buckets=config.n_buckets,
            relative_attention_max_distance=config.max_distance,
            layer_norm_epsilon=config.norm_eps,
            feed_forward_proj="relu" if config.tied else "gated-gelu",
            tie_word_embeddings=config.tied,
            eos_token_id=None,
        )
    )
    if not config.tied:  # as a checkpoint that brings both tables does
        model.lm_head.weight = nn.Parameter(model.lm_head.weight.clone())
    return model


OUR_NAMES = {
    "pytorch": {
        r"\.layers\.": ".",
        r"\.self_attn\.": ".attention.",
        r"\.multihead_attn\.": ".cross.",
        r"\.out_proj\.weight": ".o_proj.weight",
        r"\.linear1\.": ".ffn.up_proj.",
        r"\.linear2\.": ".ffn.down_proj.",
        r"\.norm1\.": ".add_attention.norm.",
        r"(encoder.*)\.norm2\.": r"\1.add_ffn.norm.",
        r"(decoder.*)\.norm2\.": r"\1.add_cross.norm.",
        r"\.norm3\.": ".add_ffn.norm.",
        r"^(\w+)\.norm\.": r"\1_norm.",
    },
    "marian": {
        r"^model\.shared\.": "embedding.",
        r"^model\.": "",
        r"\.layers\.": ".",
        r"\.self_attn\.": ".attention.",
        r"\.encoder_attn\.": ".cross.",
        r"\.out_proj\.weight": ".o_proj.weight",
        r"\.fc1\.": ".ffn.up_proj.",
        r"\.fc2\.": ".ffn.down_proj.",
        r"\.self_attn_layer_norm\.": ".add_attention.norm.",
        r"\.encoder_attn_layer_norm\.": ".add_cross.norm.",
        r"\.final_layer_norm\.": ".add_ffn.norm.",
    },
    "t5": {
        r"^shared\.": "embedding.",
        r"^lm_head\.": "unembedding.",
        r"^(\w+)\.final_layer_norm\.": r"\1_norm.",
        r"^(\w+)\.block\.0\..*\.relative_attention_bias\.": r"\1_bias.table.",
        r"^(\w+)\.block\.(\d+)\.": r"\1.\2.",
        r"\.layer\.0\.layer_norm\.": ".add_attention.norm.",
        r"(decoder.*)\.layer\.1\.layer_norm\.": r"\1.add_cross.norm.",
        r"\.layer\.[12]\.layer_norm\.": ".add_ffn.norm.",
        r"\.SelfAttention\.(.)\.": r".attention.\1_proj.",
        r"\.EncDecAttention\.(.)\.": r".cross.\1_proj.",
        r"\.DenseReluDense\.wi(_1)?\.": ".ffn.up_proj.",
        r"\.DenseReluDense\.wi_0\.": ".ffn.gate_proj.",
        r"\.DenseReluDense\.wo\.": ".ffn.down_proj.",
        r"\.layer\.\d": "",
    },
}


def our_names(peer: str, name: str) -> list[str]:
    for theirs, ours in OUR_NAMES[peer].items():
        name = re.sub(theirs, ours, name)
    if re.search(r"\.(attention|cross)\..*bias$", name):
        return []  # the paper's projections have no biases
    if name.endswith("in_proj_weight"):
        return [name.replace("in_", f"{x}_").replace("_weight", ".weight") for x in "qkv"]
    return [name]


MODELS = {
    "pytorch": (Transformer, PyTorchs, ORIGINAL),
    "pytorch pre-norm": (Transformer, PyTorchs, replace(ORIGINAL, parts=LayerParts(PreNorm))),
    "marian": (Transformer, marian, ORIGINAL),
    "t5": (T5, t5, T5_1_0),
    "t5 1.1": (T5, t5, T5_1_1),
}
GENERATORS = ["marian", "t5", "t5 1.1"]


def make(name, twins, device="cpu", dtype=torch.float32):
    ours, theirs, config = MODELS[name]
    models = ours(config), theirs(config).eval()
    return twins(*(m.to(device, dtype) for m in models), lambda n: our_names(name.split()[0], n))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_the_peers(name, mask, twins, place, same_numbers):
    pair = make(name, twins, place.device, place.dtype)
    source, target, mask = (
        None if x is None else x.to(place.device) for x in (SOURCE, TARGET, MASKS[mask])
    )
    logits = pair.ours(source, target, mask)
    if name.startswith("pytorch"):
        expected = pair.theirs(source, target, mask)
    else:
        expected = pair.theirs(
            input_ids=source, attention_mask=mask, decoder_input_ids=target
        ).logits
    # Our table of sines is made in float32, and the norms of the peer's T5 compute in it.
    tolerance = max(place.tolerance, 1e-6)
    same_numbers(logits, expected, tolerance)
    assert expected.std() > 0.05, "logits that are all alike would prove nothing"
    slope = torch.randn_like(logits)
    logits.backward(slope)
    expected.backward(slope)
    pair.same_gradients(10 * tolerance)


@pytest.mark.parametrize("name", GENERATORS)
@torch.no_grad()
def test_cached_logits_are_those_of_the_whole_text(name, twins, same_numbers):
    model = make(name, twins).ours
    for mask in MASKS.values():
        memory, expected = model.encode(SOURCE, mask), model(SOURCE, TARGET, mask)
        for cuts in ([23], [5, 1, 7, 1, 9], [1] * 23):
            caches = model.new_caches(B)
            parts = [model.decode(ids, memory, caches) for ids in TARGET.split(cuts, dim=1)]
            same_numbers(torch.cat(parts, dim=1), expected, 1e-5)


@pytest.mark.parametrize("penalty", [1.0, 3.0])
@pytest.mark.parametrize("name", GENERATORS)
def test_greedy_text_is_transformers(name, penalty, twins):
    """An untrained model says the same word for ever, unless a penalty makes it change."""
    pair, mask = make(name, twins), MASKS["right"]
    config = GenerationConfig(
        max_new_tokens=T, repetition_penalty=penalty, decoder_start_token_id=0, pad_token_id=0
    )
    expected = pair.theirs.generate(SOURCE, attention_mask=mask, generation_config=config)
    model, sampler = pair.ours.given(SOURCE, mask), Sampler(0.0, repetition_penalty=penalty)
    assert isinstance(model, LanguageModel)
    made = torch.stack(list(generate(model, START, T, sampler)), dim=1)
    assert torch.equal(made, expected[:, 1:])
    assert penalty == 1 or len(made.unique()) > 7


@pytest.mark.parametrize("name", GENERATORS)
def test_beam_search_is_transformers(name, twins):
    pair, stop = make(name, twins), 1
    config = GenerationConfig(
        max_new_tokens=11, num_beams=3, early_stopping="never", length_penalty=1.0,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=stop,
    )  # fmt: skip
    expected = pair.theirs.generate(SOURCE[:1], generation_config=config)
    found = beam_search(pair.ours.given(SOURCE[:1]), START[:1], 11, 3, stop_token=stop)
    assert found[0].tokens.tolist() == expected[0, 1:].tolist()


@torch.no_grad()
def test_one_source_serves_many_texts(twins, same_numbers):
    model = make("t5", twins).ours
    for mask in (None, MASKS["left"][1:]):
        answers = model.given(SOURCE[1:], mask)
        rows = torch.cat([answers(row[None]) for row in TARGET])
        same_numbers(answers(TARGET), rows, 1e-5)


@torch.no_grad()
def test_padded_sources_are_as_if_alone(twins, same_numbers):
    """T5 sees distances alone, so it does not mind on which side a row is filled up."""
    model = make("t5", twins).ours
    for mask in (MASKS["left"], MASKS["right"]):
        tokens = SOURCE[1:, mask[1]]
        same_numbers(model(SOURCE, TARGET, mask)[1:], model(tokens, TARGET[1:]), 1e-5)


def test_t5_starts_as_transformers_does(twins):
    """The spread of the weights that each is given before training."""
    config = replace(T5_1_0, vocab_size=499, d_model=130, d_ff=211, head_dim=29)
    ours, theirs = T5(config), t5(config)
    for name, parameter in theirs.named_parameters():
        mine = ours.get_parameter(our_names("t5", name)[0])
        if parameter.ndim > 1 and len(parameter) > 8:
            assert 0.97 < mine.std() / parameter.std() < 1.03, name


def test_an_untrained_original_guesses_almost_alike():
    loss = nn.functional.cross_entropy(
        Transformer(ORIGINAL)(SOURCE, TARGET).flatten(0, 1), TARGET.flatten()
    )
    assert abs(loss - math.log(53)) < 1


@pytest.mark.parametrize("model", [Transformer(ORIGINAL), T5(T5_1_0)], ids=["original", "t5"])
def test_bad_input_is_named(model, unchecked_shapes):
    memory = model.encode(SOURCE)
    with pytest.raises(ValueError, match=r"token id 53 is outside 0…52"):
        model.encode(torch.tensor([[3, 53]]))
    with pytest.raises(ValueError, match=r"token id -1 is outside 0…52"):
        model.decode(-torch.ones_like(TARGET), memory)
    with pytest.raises(ValueError, match="32 tokens do not fit the context of 31"):
        model.encode(torch.zeros(B, 32, dtype=torch.long))
    with pytest.raises(ValueError, match="46 tokens do not fit the context of 31"):
        model.decode(TARGET.repeat(1, 2), memory)
    with pytest.raises(ValueError, match="32 tokens do not fit the context of 31"):
        generate(model.given(SOURCE), START, 32)
    with pytest.raises(ValueError, match="the text is empty"):
        model.encode(SOURCE[:, :0])
    with pytest.raises(ValueError, match="the text is empty"):
        model.decode(TARGET[:, :0], memory)
    with pytest.raises(ValueError, match="row 1 holds no token"):
        model.encode(SOURCE, torch.tensor([[True], [False]]).expand(B, S))
    with pytest.raises(ValueError, match=r"a mask of \(2, 5\) does not fit ids of \(2, 29\)"):
        model.encode(SOURCE, MASKS["right"][:, :5])
    with pytest.raises(ValueError, match="2 sources cannot serve 3 texts"):
        model.decode(TARGET[[0, 1, 1]], memory)


@pytest.mark.parametrize(
    ("config", "sizes", "message"),
    [
        (ORIGINAL, {"n_heads": 4}, "n_heads=4 does not divide d_model=30"),
        (ORIGINAL, {"d_model": 35}, "d_model must be even for sines and cosines, got 35"),
        (ORIGINAL, {"vocab_size": 0}, "vocab_size must be positive, got 0"),
        (T5_1_0, {"d_ff": -3}, "d_ff must be positive, got -3"),
        (T5_1_0, {"n_buckets": 6}, "n_buckets must be a positive multiple of 4, got 6"),
        (T5_1_0, {"max_distance": 4}, "max_distance must be over 4, got 4"),
    ],
)
def test_sizes_that_do_not_fit_are_named(config, sizes, message):
    with pytest.raises(ValueError, match=message):
        replace(config, **sizes)
