"""The encoder against `transformers`' BERT with the same weights."""

import re

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from tutor_lib.model.encoder import Encoder, EncoderConfig, MaskedLanguageModel, Pooler

CONFIG = EncoderConfig(
    vocab_size=53, context_length=19, n_layers=3, d_model=35, n_heads=5, d_ff=37, n_segments=3
)
B, T = 2, 17
IDS = torch.randint(CONFIG.vocab_size, (B, T), generator=torch.Generator().manual_seed(7))
SEGMENTS = torch.arange(T).div(7, rounding_mode="floor").expand(B, T)
MASKS = {
    "none": None,
    "right": torch.arange(T) < torch.tensor([T, 11])[:, None],
    "left": torch.arange(T) >= torch.tensor([0, 5])[:, None],
}

OUR_NAMES = {
    r"^bert\.": "encoder.",
    r"\.embeddings\.word_embeddings\.": ".embedding.",
    r"\.embeddings\.position_embeddings\.": ".positions.table.",
    r"\.embeddings\.token_type_embeddings\.": ".segments.",
    r"\.embeddings\.LayerNorm\.": ".embedding_norm.",
    r"\.encoder\.layer\.": ".blocks.",
    r"\.attention\.self\.(.)\w+\.": r".attention.\1_proj.",
    r"\.attention\.output\.dense\.": ".attention.o_proj.",
    r"\.attention\.output\.LayerNorm\.": ".add_attention.norm.",
    r"\.intermediate\.dense\.": ".ffn.up_proj.",
    r"\.output\.dense\.": ".ffn.down_proj.",
    r"\.output\.LayerNorm\.": ".add_ffn.norm.",
    r"^cls\.predictions\.(transform\.)?": "",
    r"^LayerNorm\.": "norm.",
}


def our_names(name: str) -> list[str]:
    for theirs, ours in OUR_NAMES.items():
        name = re.sub(theirs, ours, name)
    return [name]


def bert_config() -> BertConfig:
    return BertConfig(
        vocab_size=CONFIG.vocab_size,
        hidden_size=CONFIG.d_model,
        num_hidden_layers=CONFIG.n_layers,
        num_attention_heads=CONFIG.n_heads,
        intermediate_size=CONFIG.d_ff,
        max_position_embeddings=CONFIG.context_length,
        type_vocab_size=CONFIG.n_segments,
        pad_token_id=None,
    )


@pytest.fixture
def bert(place, twins):
    ours, theirs = MaskedLanguageModel(CONFIG), BertForMaskedLM(bert_config()).eval()
    return twins(*(m.to(place.device, place.dtype) for m in (ours, theirs)), our_names)


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("segments", [None, SEGMENTS], ids=["one text", "three"])
def test_logits_and_gradients_are_berts(bert, place, same_numbers, name, segments):
    ids, mask, segments = (
        None if x is None else x.to(place.device) for x in (IDS, MASKS[name], segments)
    )
    logits = bert.ours(ids, mask, segments)
    expected = bert.theirs(ids, attention_mask=mask, token_type_ids=segments).logits
    same_numbers(logits, expected, place.tolerance)
    assert expected.std() > 0.3, "logits that are all alike would prove nothing"
    slope = torch.randn_like(logits)
    logits.backward(slope)
    expected.backward(slope)
    bert.same_gradients(10 * place.tolerance)


def test_hidden_states_and_pooler_are_berts(place, twins, same_numbers):
    class Pooled(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.pooler = Encoder(CONFIG), Pooler(CONFIG)

    def pooled_names(name: str) -> list[str]:
        return [name] if name.startswith("pooler.") else our_names("bert." + name)

    models = Pooled(), BertModel(bert_config()).eval()
    bert = twins(*(m.to(place.device, place.dtype) for m in models), pooled_names)
    ids, mask = IDS.to(place.device), MASKS["right"].to(place.device)
    hidden, expected = bert.ours.encoder(ids, mask), bert.theirs(ids, attention_mask=mask)
    same_numbers(hidden, expected.last_hidden_state, place.tolerance)
    same_numbers(bert.ours.pooler(hidden), expected.pooler_output, place.tolerance)


def test_padded_rows_are_as_if_alone():
    model = Encoder(CONFIG)
    with torch.no_grad():
        alone, padded = model(IDS[1:, :11]), model(IDS, MASKS["right"])
    assert torch.allclose(padded[1:, :11], alone, atol=1e-5)


def test_every_token_sees_what_comes_after_it():
    model = Encoder(CONFIG)
    changed = IDS.clone()
    changed[:, -1] = (IDS[:, -1] + 1) % CONFIG.vocab_size
    assert not torch.isclose(model(IDS)[:, 0], model(changed)[:, 0]).all()


def test_an_untrained_model_guesses_alike_everywhere():
    """Small weights: the loss begins at ln V."""
    torch.manual_seed(3)
    loss = torch.nn.functional.cross_entropy(
        MaskedLanguageModel(CONFIG)(IDS).flatten(0, 1), IDS.flatten()
    )
    assert abs(loss - torch.tensor(CONFIG.vocab_size).log()) < 0.1


def test_bad_input_is_named(unchecked_shapes):
    model = MaskedLanguageModel(CONFIG)
    segments = torch.zeros_like(IDS)
    with pytest.raises(ValueError, match=r"token id 53 is outside 0…52"):
        model(torch.tensor([[3, 53]]))
    with pytest.raises(ValueError, match=r"segment id 3 is outside 0…2"):
        model(IDS, segments=segments + 3)
    with pytest.raises(ValueError, match=r"segments of \(2, 5\) do not fit ids of \(2, 17\)"):
        model(IDS, segments=segments[:, :5])
    with pytest.raises(ValueError, match="20 tokens do not fit the context of 19"):
        model(torch.zeros(1, 20, dtype=torch.long))
    with pytest.raises(ValueError, match="the text is empty"):
        model(IDS[:, :0])
    with pytest.raises(ValueError, match=r"a mask of \(2, 5\) does not fit ids of \(2, 17\)"):
        model(IDS, MASKS["right"][:, :5])
    with pytest.raises(ValueError, match="row 1 holds no token"):
        model(IDS, torch.tensor([[True], [False]]).expand(B, T))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_heads": 4}, "n_heads=4 does not divide d_model=35"),
        ({"n_heads": 0}, "n_heads must be positive, got 0"),
        ({"n_layers": 0}, "n_layers must be positive, got 0"),
        ({"head_dim": -1}, "head_size must be positive, got -1"),
        ({"norm_eps": 0.0}, r"norm_eps must be positive, got 0\.0"),
        ({"n_segments": 0}, "n_segments must be positive, got 0"),
    ],
)
def test_sizes_that_do_not_fit_are_named(sizes, message):
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**(vars(CONFIG) | sizes))
