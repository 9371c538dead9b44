"""The attention lab's references give what PyTorch, Transformers and literal loops give."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.cells import cell
from tests.checks.answers.attention import ByView
from tutor_lib.checks.attention import LAB, layers
from tutor_lib.checks.compare import close
from tutor_lib.checks.draw import Draw

EXERCISES = LAB.exercises


def cases(part, seed=3):
    return LAB.parts[part].cases(Draw(torch.Generator().manual_seed(seed)))


def test_numpy_head_is_pytorchs_attention():
    for case in cases("numpy_head"):
        x, *w = map(torch.from_numpy, case)
        q, k, v = (x @ each for each in w)
        output, weights = EXERCISES["numpy_head"].reference(*case)
        assert isinstance(output, np.ndarray)
        assert output.dtype == case[0].dtype
        assert close(F.scaled_dot_product_attention(q[None], k[None], v[None])[0], output).all()
        assert close(F.softmax(q @ k.T * q.size(1) ** -0.5, -1), weights).all()


def test_attention_scores_are_dot_products():
    for q, k in cases("attention_scores"):
        scores = EXERCISES["attention_scores"].reference(q, k)
        assert close(torch.einsum("...td,...sd->...ts", q, k) * q.size(-1) ** -0.5, scores).all()


def test_the_causal_mask_is_its_definition():
    for (n,) in cases("causal_mask"):
        literal = [[s <= t for s in range(n)] for t in range(n)]
        assert EXERCISES["causal_mask"].reference(n).tolist() == literal


@pytest.mark.parametrize("part", ["attention", "attention_mask"])
def test_attention_is_pytorchs(part):
    for case in cases(part):
        q, k, v, *mask = case
        output, weights = EXERCISES["attention"].reference(*case)
        assert close(F.scaled_dot_product_attention(q, k, v, *mask), output).all()
        identity = torch.eye(k.size(-2), dtype=k.dtype).expand(*k.shape[:-2], -1, -1)
        assert close(F.scaled_dot_product_attention(q, k, identity, *mask), weights).all()


@pytest.mark.parametrize("part", ["softmax", "softmax_large"])
def test_softmax_is_its_formula(part):
    for x, dim in cases(part):
        result = EXERCISES["softmax"].reference(x, dim)
        rows, results = (t.movedim(dim, -1).reshape(-1, x.size(dim)) for t in (x, result))
        for row, got in zip(rows.tolist(), results.tolist(), strict=True):
            total = sum(math.exp(value - max(row)) for value in row)
            for value, probability in zip(row, got, strict=True):
                assert probability == pytest.approx(math.exp(value - max(row)) / total, rel=1e-4)


def test_large_numbers_overflow_a_careless_softmax():
    for x, dim in cases("softmax_large"):
        careless = x.exp() / x.exp().sum(dim, keepdim=True)
        if x.isfinite().all():
            assert careless.isnan().any()


def turned_by_transformers(x, base):
    """Hugging Face's Llama: x is (B, H, T, D)."""
    modeling = pytest.importorskip("transformers.models.llama.modeling_llama")
    T, D = x.shape[-2:]
    angles = torch.arange(T)[:, None] * base ** (-torch.arange(0, D, 2).double() / D)
    both = torch.cat((angles, angles), -1)[None].to(x.dtype)
    return modeling.apply_rotary_pos_emb(x, x, both.cos(), both.sin())[0]


@pytest.mark.parametrize("part", ["rotate", "rotate_pair"])
def test_rotate_is_that_of_transformers(part):
    for x, base in cases(part):
        flat = x.reshape(1, -1, *x.shape[-2:])
        expected = turned_by_transformers(flat, base).view(x.shape)
        assert close(expected, EXERCISES["rotate"].reference(x, base)).all()


def pytorchs_layer(x, projections, H, mask=None, context=None):
    """nn.MultiheadAttention with these matrices; its mask is True where nobody may look."""
    theirs = nn.MultiheadAttention(x.size(-1), H, bias=False, batch_first=True).to(x.dtype)
    theirs.load_state_dict(
        {"in_proj_weight": projections[:3].flatten(0, 1), "out_proj.weight": projections[3]}
    )
    source = x if context is None else context
    if mask is not None and mask.ndim == 4:
        mask = mask.expand(-1, H, -1, -1).flatten(0, 1)
    mask = None if mask is None else ~mask
    return theirs(x, source, source, attn_mask=mask, average_attn_weights=False)


OPTIONS = {"": (), "_mask": ("mask",), "_cross": ("context", "mask")}


@pytest.mark.parametrize("part", OPTIONS)
def test_many_heads_are_pytorchs(part):
    reference = EXERCISES["MultiHeadAttention"].reference
    for case in cases(f"MultiHeadAttention{part}"):
        x, projections, H, *given = case
        options = dict(zip(OPTIONS[part], given, strict=False))  # a mask may come with a context
        layer = layers.layer(reference, x, projections, H)
        theirs = pytorchs_layer(x, projections, H, **options)
        mine = layer(x, options.get("mask"), options.get("context"))
        for expected, got in zip(theirs, mine, strict=True):
            assert close(expected, got).all()


def test_many_heads_with_rope_are_turned_by_transformers():
    reference = EXERCISES["MultiHeadAttention"].reference
    for x, projections, H, base, *mask in cases("MultiHeadAttention_rope"):
        q, k, v = ((x @ w.T).unflatten(-1, (H, -1)).transpose(1, 2) for w in projections[:3])
        q, k = turned_by_transformers(q, base), turned_by_transformers(k, base)
        mixed = F.scaled_dot_product_attention(q, k, v, *mask).transpose(1, 2).flatten(-2)
        layer = layers.layer(reference, x, projections, H, base)
        assert close(mixed @ projections[3].T, layer(x, *mask)[0]).all()


@pytest.mark.parametrize("part", [p for p in LAB.parts if "MultiHead" in p])
def test_softmax_of_many_heads_does_not_saturate(part):
    """Where one weight is nearly 1, forgetting √D changes nothing that a check could see."""
    for case in cases(part):
        weights = LAB.parts[part].drive(EXERCISES["MultiHeadAttention"].reference, *case)[1]
        assert weights.amax(-1).mean() < 0.8
        assert weights.std(-1).mean() > 0.03


def test_a_projection_that_cannot_learn_is_seen():
    exercise = EXERCISES["MultiHeadAttention"]
    source = cell(ByView, "MultiHeadAttention", exercise.lent)
    detached = source.replace("self.v_proj(context)", "(context @ self.v_proj.weight.data.T)")
    notebook = {"__name__": "notebook", **exercise.lent}
    exec(detached, notebook)
    for part in exercise.parts:
        told = part.diagnose(notebook["MultiHeadAttention"])
        assert "the gradient that reaches projections is not" in told
