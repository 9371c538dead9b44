"""Numbers in the text, against models and formulas that are not ours."""

from collections.abc import Callable
from pathlib import Path

import jupytext
import pytest
import torch

CHAPTERS = Path(__file__).resolve().parents[2] / "chapters"


def run_cell(path: str, beginning: str) -> dict:
    """The names that one cell of a chapter defines."""
    found = [c.source for c in jupytext.read(CHAPTERS / path).cells if beginning in c.source]
    assert len(found) == 1
    names: dict = {}
    exec(compile(found[0], path, "exec"), names)
    return names


@pytest.fixture(scope="module")
def count() -> dict[str, Callable]:
    return run_cell("pipeline/ffn.md", "def gpt2_block")


def sizes(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_gpt2_is_counted_as_transformers_counts_it(count):
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        gpt2 = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    block, c = gpt2.transformer.h[0], gpt2.config
    assert count["gpt2_block"](c.n_embd, 4 * c.n_embd) == (
        sizes(block.attn), sizes(block.mlp), sizes(block.ln_1) + sizes(block.ln_2)
    )  # fmt: skip
    outside = c.vocab_size * c.n_embd + c.n_positions * c.n_embd + 2 * c.n_embd
    of_block, of_model, total = count["shares"](count["gpt2_block"](768, 3072), 12, outside)
    assert total == sizes(gpt2) == 124_439_808
    assert of_block == pytest.approx(sizes(block.mlp) / sizes(block))
    assert (round(of_block, 3), round(of_model, 3)) == (0.666, 0.455)


def test_llama_is_counted_as_transformers_counts_it(count):
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        vocab_size=128_256, hidden_size=4096, intermediate_size=14_336, num_hidden_layers=32,
        num_attention_heads=32, num_key_value_heads=8, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device("meta"):
        llama = transformers.LlamaForCausalLM(config)
    block = llama.model.layers[0]
    counted = count["llama_block"](4096, 14_336, 32, 8)
    assert counted[:2] == (sizes(block.self_attn), sizes(block.mlp))
    of_block, of_model, total = count["shares"](counted, 32, 2 * 128_256 * 4096 + 4096)
    assert total == sizes(llama) == 8_030_261_248
    assert (round(of_block, 3), round(of_model, 3)) == (0.808, 0.702)


def test_cache_sizes_are_those_of_the_tensors():
    """One token of Llama-2-70B: 80 layers, two tensors each, measured by PyTorch."""
    cache_bytes = run_cell("pipeline/attention.md", "def cache_bytes")["cache_bytes"]
    for heads, expected in [(64, 2560), (8, 320)]:
        one = torch.empty(heads, 128, dtype=torch.float16, device="meta")
        assert cache_bytes(80, heads, 128) == 80 * 2 * one.nbytes == expected * 1024


def test_the_share_of_meeting_is_counted_as_torch_counts():
    """`FlopCounterMode` counts the products of a GPT-2 block and of its scores."""
    from torch.utils.flop_counter import FlopCounterMode

    width, length = 768, 1024
    layer = torch.nn.TransformerEncoderLayer(width, 12, 4 * width, batch_first=True, device="meta")
    x = torch.empty(1, length, width, device="meta")
    with FlopCounterMode(display=False) as whole:
        layer(x)
    per_head = torch.empty(12, length, width // 12, device="meta")
    with FlopCounterMode(display=False) as meeting:
        torch.bmm(torch.bmm(per_head, per_head.mT), per_head)
    share = 2 * length * width / (12 * width**2 + 2 * length * width)
    assert meeting.get_total_flops() / whole.get_total_flops() == pytest.approx(share, rel=1e-3)
