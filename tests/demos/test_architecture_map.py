"""The map: its counts against `transformers`, its shapes against modules that run, its use."""

import dataclasses
from math import prod

import pytest
import torch
import traitlets
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, BertConfig, GPT2Config
from transformers import LlamaConfig as Llama

from tutor_lib.attention.core import causal_mask
from tutor_lib.demos.architecture_map import ArchitectureMap
from tutor_lib.demos.architecture_parts import ARCHITECTURES, BOTH, ENCODER, owned, parameters
from tutor_lib.demos.architecture_plan import plan
from tutor_lib.model.config import DecoderConfig

NAMES = list(ARCHITECTURES)
B, T, S = 2, 7, 5


def llama(vocab, width, layers, heads, kv_heads, hidden, tied=False) -> Llama:
    return Llama(vocab_size=vocab, hidden_size=width, num_hidden_layers=layers,
                 num_attention_heads=heads, num_key_value_heads=kv_heads,
                 intermediate_size=hidden, tie_word_embeddings=tied)  # fmt: skip


PEERS = {
    "storyteller": llama(640, 128, 3, 4, 2, 192, tied=True),
    "GPT-2": GPT2Config(),
    "Llama 2-7B": llama(32_000, 4096, 32, 32, 32, 11_008),
    "Llama 3-8B": llama(128_256, 4096, 32, 32, 8, 14_336),
    "BERT base": BertConfig(),
}
# Which of `transformers`' modules make up a part; the first that fits has it.
THEIRS = [
    ("norm", (".ln_", "layernorm", "LayerNorm", "model.norm")),
    ("unembedding", ("cls.", "lm_head")),
    ("positions", ("wpe", "position_embeddings", "token_type")),
    ("embedding", ("wte", "embed_tokens", "word_embeddings")),
    ("attention", (".attn.", "self_attn", ".attention.")),
    ("ffn", ("mlp", "intermediate", ".output.dense")),
]


def their_counts(name: str) -> dict[str, int]:
    kind = AutoModelForMaskedLM if name == "BERT base" else AutoModelForCausalLM
    with torch.device("meta"):
        peer = kind.from_config(PEERS[name])
    counts = dict.fromkeys((part for part, _ in THEIRS), 0)
    for key, p in peer.named_parameters():
        of_head = key.startswith("cls.")
        part = "unembedding" if of_head else next(
            part for part, names in THEIRS if any(n in key for n in names))  # fmt: skip
        counts[part] += p.numel()
    return {part: n for part, n in counts.items() if n}


def our_counts(name: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in plan(name)["nodes"]:
        counts[node["part"]] = counts.get(node["part"], 0) + node["count"]
    return {part: n for part, n in counts.items() if n}


@pytest.mark.parametrize("name", PEERS)
def test_each_part_has_transformers_count_exactly(name):
    assert our_counts(name) == their_counts(name)


def test_the_original_s_counts_are_those_of_pytorch_s_layers():
    """PyTorch's layers, less the attention's biases, and six of each: table 3's base."""
    one, layers, width, hidden = torch.nn.MultiheadAttention(512, 8, bias=False), 6, 512, 2048
    attention = sum(p.numel() for p in one.parameters())
    up, down = torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, width)
    ffn = sum(p.numel() for layer in (up, down) for p in layer.parameters())
    assert our_counts("Transformer base") == {
        "embedding": 37_000 * width, "attention": 2 * layers * attention,
        "cross": layers * attention, "ffn": 2 * layers * ffn, "norm": 5 * layers * 2 * width,
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_belongs_to_one_node(name):
    model, nodes = ARCHITECTURES[name], plan(name)["nodes"]
    found = [key for node in nodes for key in owned(model, node["id"])]
    assert sorted(found) == sorted(parameters(name))
    for node in nodes:
        first_layer = sum(prod(shape) for _, shape in node["tensors"])
        assert first_layer * node["layers"] == node["count"], node["id"]


def small(name: str) -> tuple[torch.nn.Module, dict[str, int]]:
    """The same architecture with few layers and sizes that cannot be confused."""
    model = ARCHITECTURES[name]
    sizes = {"vocab_size": 53, "context_length": 31, "n_layers": 2, "d_model": 66, "n_heads": 3,
             "d_ff": 37, "head_dim": 22}  # fmt: skip
    if isinstance(model.config, DecoderConfig):
        grouped = model.config.n_kv_heads < model.config.n_heads
        sizes["n_kv_heads"] = 1 if grouped else 3
    config = dataclasses.replace(model.config, **sizes)
    letters = dataclasses.replace(model, config=config).sizes
    return model.module(config).eval(), letters | {"B": B, "T": T, "S": S}


def numbers(letters: list[str], sizes: dict[str, int]) -> tuple[int, ...]:
    return tuple(prod(sizes[one] for one in term.split("·")) for term in letters)


@torch.no_grad()
def seen(module: torch.nn.Module, kind: str) -> tuple[dict, dict, torch.Tensor]:
    """The shapes that each module read and wrote, and what came out at the end."""
    reads, writes = {}, {}

    def hook(name):
        def remember(_, given, out):
            reads[name] = tuple(given[0].shape) if given else ()
            writes[name] = tuple(out.shape) if isinstance(out, torch.Tensor) else ()

        return remember

    for name, part in module.named_modules():
        part.register_forward_hook(hook(name))
    ids = torch.randint(53, (B, T))
    source = torch.randint(53, (B, S))
    return reads, writes, module(source, ids) if kind == BOTH else module(ids)


@pytest.mark.parametrize("name", NAMES)
def test_shapes_are_those_of_running_modules(name):
    """Embedding, norms, FFN and unembedding, hooked while the module runs."""
    module, sizes = small(name)
    kind = ARCHITECTURES[name].kind
    reads, writes, logits = seen(module, kind)
    nodes = {node["id"]: node for node in plan(name)["nodes"]}
    first = {ENCODER: "encoder.blocks.0", BOTH: "decoder.0"}.get(kind, "blocks.0")
    embedding = "encoder.embedding" if kind == ENCODER else "embedding"
    assert numbers(nodes["embedding"]["reads"][1:], sizes) == reads[embedding] == (B, T)
    assert numbers(nodes["embedding"]["writes"][1:], sizes) == writes[embedding]
    ffn = nodes["ffn"]
    assert numbers(ffn["reads"][1:], sizes) == numbers(ffn["writes"][1:], sizes) == (B, T, 66)
    assert numbers(ffn["inside"][0][1], sizes) == reads[f"{first}.ffn.down_proj"]
    assert numbers(nodes["unembedding"]["writes"][1:], sizes) == tuple(logits.shape)
    assert numbers(nodes["output"]["writes"][1:], sizes) == tuple(logits.shape)
    if kind == BOTH:
        inside = nodes["source ffn"]["inside"][0][1]
        assert numbers(inside, sizes) == reads["encoder.0.ffn.down_proj"] == (B, S, 37)


def attentions(name: str, module: torch.nn.Module) -> list[tuple[str, torch.nn.Module, bool]]:
    kind = ARCHITECTURES[name].kind
    if kind == BOTH:
        layer = module.decoder[0]
        return [("source attention", module.encoder[0].attention, False),
                ("attention", layer.attention, True)]  # fmt: skip
    blocks = module.encoder.blocks if kind == ENCODER else module.blocks
    return [("attention", blocks[0].attention, kind != ENCODER)]


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_attention_s_shapes_are_those_of_its_tensors(name):
    module, sizes = small(name)
    nodes = {node["id"]: node for node in plan(name)["nodes"]}
    for node, layer, causal in attentions(name, module):
        length = S if node.startswith("source") else T
        x = torch.randn(B, length, 66)
        q, k, v = layer.heads(x)
        out, weights = layer(x, causal_mask(length) if causal else None)
        mixed = torch.empty(B, length, layer.o_proj.in_features)
        inside = [numbers(letters, sizes) for _, letters in nodes[node]["inside"]]
        assert inside == [tuple(t.shape) for t in (q, k, v, weights, mixed)]
        assert numbers(nodes[node]["writes"][1:], sizes) == tuple(out.shape)


@torch.no_grad()
def test_cross_attention_s_shapes_are_those_of_its_tensors():
    module, sizes = small("Transformer base")
    layer, x, source = module.decoder[0].cross, torch.randn(B, T, 66), torch.randn(B, S, 66)
    k, v = layer.remember(source)
    out, weights = layer(x, (k, v))
    cross = next(n for n in plan("Transformer base")["nodes"] if n["id"] == "cross")
    inside = dict(cross["inside"])
    assert numbers(inside["keys k"], sizes) == tuple(k.shape)
    assert numbers(inside["values v"], sizes) == tuple(v.shape)
    assert numbers(inside["weights"], sizes) == tuple(weights.shape) == (B, 3, T, S)
    assert numbers(cross["writes"][1:], sizes) == tuple(out.shape)


@pytest.mark.parametrize("name", NAMES)
def test_every_part_is_joined_and_inside_the_picture(name):
    drawn = plan(name)
    ids = [node["id"] for node in drawn["nodes"]]
    assert len(set(ids)) == len(ids)
    joined = {edge[end] for edge in drawn["edges"] for end in ("from", "to")}
    assert joined == set(ids)
    for node in drawn["nodes"]:
        assert 0 <= node["x"] <= node["x"] + node["width"] <= drawn["width"]
        assert 0 <= node["y"] <= node["y"] + node["height"] <= drawn["height"]


@pytest.mark.parametrize("name", NAMES)
def test_boxes_do_not_overlap(name):
    """But for norms, which stand on the residual stream where they come after."""
    boxes = [n for n in plan(name)["nodes"] if n["part"] != "residual"]
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            beside = a["x"] >= b["x"] + b["width"] or b["x"] >= a["x"] + a["width"]
            below = a["y"] >= b["y"] + b["height"] or b["y"] >= a["y"] + a["height"]
            assert beside or below, (a["id"], b["id"])


@pytest.mark.parametrize(
    ("traits", "message"),
    [({"model": "GPT-9"}, "no model 'GPT-9'"), ({"part": "soul"}, "no part 'soul'"),
     ({"batch": 0}, "batch"), ({"tokens": 129}, "tokens")],
)  # fmt: skip
def test_what_is_not_there_is_refused(traits, message):
    with pytest.raises(traitlets.TraitError, match=message):
        ArchitectureMap(**traits)


def test_numbers_of_a_shape(code):
    sizes = {"B": 2, "T": 7, "H": 3, "D": 11}
    assert code("shapeNumbers", ["B", "T", "H·D"], sizes) == [2, 7, 33]
    assert code("shapeNumbers", [], sizes) == []


def test_edges_of_a_part(code):
    edges = [{"from": a, "to": b} for a, b in ("xy", "yz", "zy", "zx")]
    assert code("partEdges", edges, "y") == {"reads": [0, 2], "writes": [1]}


@pytest.mark.parametrize("name", NAMES)
def test_shares_sum_to_one(code, name):
    shares = code("parameterShares", plan(name)["nodes"])
    assert {s["part"]: s["count"] for s in shares} == our_counts(name)
    total = sum(prod(shape) for shape in parameters(name).values())
    assert [s["share"] for s in shares] == pytest.approx(
        sorted((n / total for n in our_counts(name).values()), reverse=True), abs=1e-9
    )


@pytest.mark.parametrize(
    ("key", "at", "to"),
    [("ArrowDown", 4, 0), ("ArrowRight", 1, 2), ("ArrowUp", 0, 4), ("ArrowLeft", 3, 2),
     ("Home", 3, 0), ("End", 1, 4), ("x", 1, None)],
)  # fmt: skip
def test_keys_go_round(code, key, at, to):
    assert code("partAfter", key, at, 5) == to


def panel(page) -> str:
    return page.get_by_role("region", name="The chosen part").inner_text()


def test_a_chosen_part_shows_its_flow_shapes_and_count(visit):
    with visit(name="blank") as page:
        page.mount("ArchitectureMap", model="GPT-2", tokens=7)
        page.get_by_role("radio", name="FFN").click()
        assert page.trait("part") == "ffn"
        assert page.locator(".edge.reads").count() == page.locator(".edge.writes").count() == 1
        assert "[B, T, C] = [1, 7, 768]" in panel(page)
        assert f"{our_counts('GPT-2')['ffn']:,} in all 12" in panel(page)
        assert "FFN: reads a normalised copy" in page.get_by_role("status").all_inner_texts()[-1]
        page.get_by_role("slider", name="Batch").fill("3")
        assert "[3, 7, 768]" in panel(page)
        page.get_by_role("button", name="Llama 3-8B").click()
        assert "[3, 7, 4096]" in panel(page)
        assert not page.complaints


def test_queries_keys_and_values_light_up_apart(visit):
    with visit(name="blank") as page:
        page.mount("ArchitectureMap", model="Transformer base")
        page.get_by_role("radio", name="Cross-attention").click()
        assert [page.locator(f".edge.reads.{kind}").count() for kind in "qkv"] == [1, 1, 1]
        assert page.get_by_role("slider", name="Source tokens").is_visible()
        # A part that the next model lacks is chosen no more.
        page.get_by_role("button", name="BERT base").click()
        assert page.locator(".part[aria-checked=true]").count() == 0
        assert "Choose a part" in " ".join(page.get_by_role("status").all_inner_texts())


def test_the_bet_comes_before_the_marks(visit):
    with visit(name="blank") as page:
        page.mount("ArchitectureMap", model="Transformer base")
        assert not page.locator(".badge").first.is_visible()
        page.get_by_role("button", name="Attention and the FFN").click()
        assert page.locator(".badge:visible").count() == 3
        assert "✗ No. Only attention" in page.get_by_role("status").first.inner_text()
        page.get_by_role("button", name="Attention only").click()
        assert "✓ Right." in page.get_by_role("status").first.inner_text()


def test_arrow_keys_visit_every_part(visit):
    with visit(name="blank") as page:
        page.mount("ArchitectureMap")
        page.get_by_role("radio", name="Tokens").focus()
        page.keyboard.press("Enter")
        visited = [page.trait("part")]
        for _ in plan("storyteller")["nodes"]:
            page.keyboard.press("ArrowDown")
            visited.append(page.trait("part"))
        assert visited == [*(n["id"] for n in plan("storyteller")["nodes"]), "input"]


def test_the_chapter_is_a_link_on_pages_only(visit):
    with visit(name="blank") as page:
        page.mount("ArchitectureMap", part="attention", chapters="up/")
        assert page.get_by_role("link").get_attribute("href") == "up/attention.html"
        page.evaluate("alone.model.onPage = false; alone.model.set('part', 'ffn')")
        assert page.get_by_role("link").count() == 0


def test_the_picture_has_the_shapes():
    picture = ArchitectureMap(model="GPT-2", tokens=7).picture()
    assert "[1, 7, 50257]" in picture
    assert picture.count("<rect") == len(plan("GPT-2")["nodes"]) + 1
