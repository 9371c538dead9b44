"""What the hooks see, against the forward pass written out; scores on heads made by hand."""

import pytest
import torch

from tutor_lib.attention.core import causal_mask, scaled_dot_product_attention
from tutor_lib.inside import induction
from tutor_lib.inside.ablate import without_head
from tutor_lib.inside.trace import attention_weights
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder

CONFIG = DecoderConfig(
    vocab_size=53, context_length=23, n_layers=2, d_model=30, n_heads=3, n_kv_heads=1, d_ff=17
)


def test_attention_weights_are_those_of_the_forward_pass_written_out():
    model = Decoder(CONFIG)
    ids = torch.randint(CONFIG.vocab_size, (2, 7))
    caught = attention_weights(model, ids)
    assert caught.shape == (2, 2, 3, 7, 7)
    x = model.embedding(ids)
    for i, block in enumerate(model.blocks):
        layer, normed = block.attention, block.attention_norm(x)
        heads = [p(normed).view(2, 7, -1, 10) for p in (layer.q_proj, layer.k_proj, layer.v_proj)]
        q, k, v = (h.transpose(1, 2) for h in heads)
        k, v = k.expand(2, 3, 7, 10), v.expand(2, 3, 7, 10)
        q, k = layer.rotary(q), layer.rotary(k)
        _, weights = scaled_dot_product_attention(q, k, v, causal_mask(7))
        assert torch.allclose(caught[i], weights, atol=1e-6)
        x = block(x, causal_mask(7))


def test_no_hook_is_left_behind():
    model = Decoder(CONFIG)
    attention_weights(model, torch.zeros(1, 3, dtype=torch.long))
    assert not any(module._forward_hooks for module in model.modules())


def test_scores_of_heads_made_by_hand(monkeypatch):
    """Head 0 looks at the token before, head 1 is an induction head, head 2 looks at itself."""
    n, model = 5, Decoder(CONFIG)
    weights = torch.zeros(1, 2, 3, 2 * n, 2 * n)
    for t in range(2 * n):
        weights[0, :, 0, t, max(t - 1, 0)] = 1
        weights[0, :, 1, t, t - n + 1 if t >= n else t] = 1
        weights[0, :, 2, t, t] = 1
    monkeypatch.setattr(induction, "attention_weights", lambda model, ids: weights)
    words = torch.zeros(2, n, dtype=torch.long)
    expected = torch.tensor([[0.0, 1.0, 0.0]])
    assert torch.equal(induction.induction_scores(model, words), expected)
    previous = induction.previous_token_scores(model, torch.cat((words, words), 1))
    assert torch.equal(previous, torch.tensor([[1.0, 0.0, 0.0]]))


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (1, 2)])
def test_a_head_switched_off_is_a_head_whose_output_matrix_is_zero(layer, head):
    """The oracle changes weights, not activations: no column of `o_proj` reads the head."""
    model, ids = Decoder(CONFIG), torch.randint(CONFIG.vocab_size, (2, 7))
    before = model(ids)
    with without_head(model, layer, head):
        silenced = model(ids)
    assert torch.equal(model(ids), before), "the hook is gone"
    with torch.no_grad():
        model.blocks[layer].attention.o_proj.weight[:, head * 10 : head * 10 + 10] = 0
    assert torch.allclose(silenced, model(ids), atol=1e-6)
    assert not torch.allclose(silenced, before, atol=1e-4)


@pytest.mark.parametrize(("layer", "head"), [(2, 0), (0, 3), (-1, 0)])
def test_a_head_that_is_not_there_is_named(layer, head):
    with (
        pytest.raises(ValueError, match=f"no head {head} of layer {layer}"),
        without_head(Decoder(CONFIG), layer, head),
    ):
        pass
