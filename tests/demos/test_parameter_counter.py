"""The counts in JavaScript against modules built on PyTorch's meta device."""

import random
import re

import pytest
import torch
from torch import nn
from traitlets import TraitError

from tutor_lib.demos.parameter_counter import LLAMA_3_8B, ParameterCounter, count_parts, published
from tutor_lib.model.decoder import Decoder
from tutor_lib.model.zoo import ZOO, count_parameters


def size(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def built(s: dict) -> dict[str, int]:
    """The same parts from PyTorch's own modules: no formula, and nothing of the library's."""
    C, F, V, bias = s["d_model"], s["d_ff"], s["vocab_size"], bool(s["biased"])
    narrow = C // s["n_heads"] * s["n_kv_heads"]
    with torch.device("meta"):
        norm = nn.LayerNorm(C) if bias else nn.RMSNorm(C)
        attention = [nn.Linear(C, n, bias=bias) for n in (C, narrow, narrow, C)]
        ffn = [nn.Linear(C, F, bias=bias), nn.Linear(F, C, bias=bias)]
        if s["gated"]:
            ffn = [nn.Linear(C, F, False), nn.Linear(C, F, False), nn.Linear(F, C, False)]
        table = nn.Embedding(V, C)
        positions = nn.Embedding(s["learned"], C)
    L = s["n_layers"]
    return {
        "token table": size(table),
        "positions": size(positions),
        "attention": L * size(*attention),
        "FFN": L * size(*ffn),
        "norms": (2 * L + 1) * size(norm),
        "unembedding": 0 if s["tied"] else size(table),
    }


def random_sizes(rng: random.Random) -> dict[str, int]:
    kv, group, half = rng.choice([1, 2, 3, 5]), rng.choice([1, 3, 7]), rng.choice([11, 13, 17])
    return {
        "n_layers": rng.choice([2, 3, 5, 7]), "d_model": kv * group * 2 * half,
        "n_heads": kv * group, "n_kv_heads": kv, "d_ff": rng.choice([19, 23, 29]),
        "vocab_size": rng.choice([101, 211, 307]), "learned": rng.choice([0, 31, 37]),
        "tied": rng.randint(0, 1), "gated": rng.randint(0, 1), "biased": rng.randint(0, 1),
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_random_sizes(code, seed):
    sizes = random_sizes(random.Random(seed))
    found, expected = code("countParameters", sizes), built(sizes)
    assert found["parts"] == expected
    assert found["total"] == sum(expected.values())
    one = built(sizes | {"n_layers": 1})
    assert found["block"]["attention"] == one["attention"]
    assert found["block"]["FFN"] == one["FFN"]
    assert found["block"]["norms"] * 3 == one["norms"] * 2  # the last norm is outside the block
    assert found["perBlock"] == sum(found["block"].values())
    assert count_parts(**sizes) == expected


@pytest.mark.parametrize("name", sorted(published()))
def test_published_models(code, name):
    """All of a model's parameters are there: the library's own decoder has as many."""
    found = code("countParameters", published()[name])
    configs = {m.name: m.config for m in ZOO} | {"Llama-3-8B": LLAMA_3_8B}
    if name in configs:
        assert found["total"] == count_parameters(configs[name]).total
        with torch.device("meta"):
            assert found["perBlock"] == size(Decoder(configs[name]).blocks[0])
    else:
        assert found["total"] == 451_456  # storyteller.json
    assert found["parts"] == count_parts(**published()[name])


def test_gpt2_is_not_70_percent_ffn(code):
    found = code("countParameters", published()["GPT-2"])
    assert found["total"] == 124_439_808  # as Hugging Face's GPT2LMHeadModel
    assert found["block"]["FFN"] / found["perBlock"] == pytest.approx(0.6663, abs=1e-4)
    assert found["parts"]["FFN"] / found["total"] == pytest.approx(0.4554, abs=1e-4)


def test_sizes_that_make_no_decoder(code):
    assert code("whyNot", {"d_model": 12, "n_heads": 6, "n_kv_heads": 2}) == ""
    assert "6 heads" in code("whyNot", {"d_model": 13, "n_heads": 6, "n_kv_heads": 2})
    assert "key/value" in code("whyNot", {"d_model": 12, "n_heads": 6, "n_kv_heads": 4})


def test_bytes_in_words(code):
    assert code("bytesText", 4 * 124_439_808) == "497.8 MB"
    assert code("bytesText", 2 * 8_030_261_248) == "16.06 GB"
    assert code("bytesText", 900) == "0.9 kB"


def table(page) -> dict[str, list[str]]:
    rows = page.evaluate(
        """() => [...alone.el.querySelector('.tutor-demo').shadowRoot
             .querySelectorAll('.parts tbody tr, .parts tfoot tr')]
             .map((row) => [...row.children].map((cell) => cell.textContent))"""
    )
    return {name: cells for name, *cells in rows}


def test_a_reader_bets_and_counts(visit):
    with visit(name="blank") as page:
        page.mount("ParameterCounter")
        assert not table(page)
        page.get_by_label("Your bet").fill("70")
        page.get_by_role("button", name="Count").click()
        said = page.locator("[role=status]").all_text_contents()
        assert any("45.5\u00a0%" in text and "66.6\u00a0%" in text for text in said)
        assert any("24 points too many" in text for text in said)
        assert table(page)["FFN"] == ["56,669,184", "45.5\u00a0%", "66.6\u00a0%"]
        assert table(page)["all"][0] == "124,439,808"
        assert table(page)["bf16"] == ["248.9 MB"]
        assert not page.complaints


def test_a_model_and_then_sizes_of_ones_own(visit):
    with visit(name="blank") as page:
        page.mount("ParameterCounter")
        page.get_by_role("button", name="Count").click()
        page.get_by_role("button", name="Llama-3-8B").click()
        assert page.trait("n_kv_heads") == 8
        assert table(page)["all"][0] == "8,030,261,248"
        assert table(page)["unembedding"][0] == "525,336,576"
        page.get_by_label("Key/value heads").fill("32")
        assert page.trait("model") == ""
        pressed = page.get_by_role("button", name="Llama-3-8B").get_attribute("aria-pressed")
        assert pressed == "false"
        assert table(page)["attention"][0] == f"{4 * 4096 * 4096 * 32:,}"
        page.get_by_label("Key/value heads").fill("5")
        assert "cannot share" in page.locator(".note").first.text_content()
        assert not page.locator(".answer").is_visible()


def test_python_fills_in_too():
    demo = ParameterCounter("Llama 2-7B", n_layers=7)
    assert (demo.d_model, demo.n_layers, demo.tied) == (4096, 7, 0)
    demo.model = "GPT-2"
    assert (demo.d_model, demo.n_layers, demo.tied) == (768, 12, 1)
    demo.model = ""
    assert demo.d_model == 768
    with pytest.raises(TraitError):
        ParameterCounter(n_layers=0)


def test_the_picture_names_the_total():
    assert re.search("124,439,808", ParameterCounter().picture())
