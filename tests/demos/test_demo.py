"""What Python makes of a demo: one module, HTML, a picture, checked traits, the weights' size."""

import gzip
import json
import re
from urllib.parse import unquote

import pytest
import torch
import traitlets

from tutor_lib.demos import AttentionMatrix, Generate, Tokenizer
from tutor_lib.demos.bundle import flatten, kit_url, with_kit
from tutor_lib.demos.demo import Demo
from tutor_lib.demos.weights import byte_planes, storyteller, storyteller_script
from tutor_lib.inside.trace import attention_weights

DEMOS = (Tokenizer, AttentionMatrix, Generate)


@pytest.mark.parametrize("demo", DEMOS)
def test_both_hosts_in_one_bundle(demo):
    """A widget view for JupyterLab, HTML for a page, and the same picture of them each time."""
    bundle, _ = demo()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == demo().html()
    assert f'data-tutor-demo="{demo.__name__}"' in bundle["text/html"]
    assert bundle["text/html"].count("data:text/javascript") == 1


def test_state_cannot_end_its_script():
    text = "</script><script>alert(1)</script><!--"
    html = Tokenizer(text=text).html()
    state = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1]
    assert json.loads(state)["text"] == text
    assert html.count("<script") == html.count("</script") == 2


def test_one_kit_for_all():
    """The same string in every demo, so that a page with three makes one module of it."""
    urls = {re.search(r'from "(data:[^"]+)"', demo()._esm)[1] for demo in DEMOS}
    assert len(urls) == 1


def test_flatten(tmp_path):
    """Each module once, what is imported before what imports it, circles and all."""
    (tmp_path / "kit.js").write_text('export * from "./b.js";\nexport * from "./a.js";\n')
    (tmp_path / "a.js").write_text("export const a = 1;\n")
    (tmp_path / "b.js").write_text('import {\n  a,\n} from "./a.js";\nexport const b = a;\n')
    assert flatten(tmp_path / "kit.js").split() == "export const a = 1; export const b = a;".split()
    (tmp_path / "demo.js").write_text('import { a } from "./kit.js";\na;\n')
    module = with_kit(tmp_path / "demo.js")
    assert module == f'import {{ a }} from "{kit_url(tmp_path / "kit.js")}";\na;\n'
    assert unquote(kit_url(tmp_path / "kit.js")).endswith(flatten(tmp_path / "kit.js"))


def test_what_cannot_be_bundled(tmp_path):
    (tmp_path / "kit.js").write_text('import { a as b } from "./a.js";\n')
    (tmp_path / "a.js").write_text("export const a = 1;\n")
    with pytest.raises(ValueError, match="renames"):
        flatten(tmp_path / "kit.js")
    (tmp_path / "demo.js").write_text("1;\n")
    with pytest.raises(ValueError, match=r"must import \./kit\.js once, found 0"):
        with_kit(tmp_path / "demo.js")


def test_presets():
    assert AttentionMatrix("it was soft").text.endswith("it was soft, so the")
    assert Generate("it was soft").prompt == Generate("it was soft").text
    with pytest.raises(ValueError, match="no preset 'nonsense'; there are a sentence, leading"):
        Tokenizer("nonsense")


@pytest.mark.parametrize("demo", DEMOS)
def test_an_unknown_trait_is_named(demo):
    with pytest.raises(ValueError, match=f"{demo.__name__} has no colour; it has .*max_length"):
        demo(colour="red")


@pytest.mark.parametrize(
    ("demo", "traits", "message"),
    [
        (Tokenizer, {"text": "x" * 1001}, "1001 characters, at most 1000"),
        (AttentionMatrix, {"text": "x" * 401}, "401 characters, at most 400"),
        (AttentionMatrix, {"layer": 99}, "no layer 99"),
        (AttentionMatrix, {"head": 99}, "no head 99"),
        (Generate, {"prompt": "x" * 1001}, "1001 characters, at most 1000"),
        (Generate, {"temperature": -0.1}, "temperature"),
        (Generate, {"top_k": -1}, "top_k"),
        (Generate, {"top_p": 0.0}, "top_p"),
        (Generate, {"seed": -1}, "seed"),
    ],
)
def test_bad_traits(demo, traits, message):
    with pytest.raises(traitlets.TraitError, match=message):
        demo(**traits)


def test_ids_follow_the_text_and_the_merges():
    demo, tokenizer = Tokenizer(text="a cat"), storyteller()[1]
    assert demo.ids == tokenizer.encode("a cat")
    demo.text = "a mat"
    assert demo.ids == tokenizer.encode("a mat")
    demo.merges = []
    assert len(demo.ids) == 5
    assert ">␣<" in demo.picture()


def test_the_picture_of_attention_shows_real_weights():
    demo = AttentionMatrix(text="The cat sat", layer=1, head=2)
    model, tokenizer = storyteller()
    weights = attention_weights(model, torch.tensor([tokenizer.encode(demo.text)]))[1, 0, 2]
    shown = [int(share) for share in re.findall(r"heat-high\) (\d+)%", demo.picture())]
    rows, columns = torch.tril_indices(*weights.shape)
    assert shown == [round(100 * w) for w in weights[rows, columns].tolist()]


@torch.no_grad()
def test_the_picture_of_generate_shows_real_probabilities():
    demo, (model, tokenizer) = Generate(), storyteller()
    logits = model(torch.tensor([tokenizer.encode(demo.prompt)]))[0, -1]
    shown = re.findall(r">([\d.]+) %<", demo.picture())
    assert shown == [f"{100 * p:.1f}" for p in logits.softmax(-1).topk(10).values.tolist()]


def test_a_demo_without_a_picture_is_refused():
    with pytest.raises(TypeError, match=r"Blind has no picture\(\) for a page without JavaScript"):

        class Blind(Demo):
            pass


def test_empty_texts_have_pictures():
    for demo in (Tokenizer(text=""), AttentionMatrix(text=""), Generate(prompt="")):
        assert demo.picture().startswith("<svg")


def test_planes():
    numbers = torch.tensor([1.0, -2.0]).numpy()
    assert byte_planes(numbers) == bytes([0x3C, 0xC0, 0x00, 0x00])


def test_colours_are_the_books(root):
    """In JupyterLab no page sets --tutor-*: the demos then show the same colours by themselves."""
    book = (root / "tutor_lib/book/static/colours.css").read_text(encoding="utf-8")
    demos = (root / "tutor_lib/demos/demo.css").read_text(encoding="utf-8")
    light, dark = (dict(re.findall(r"--tutor-([\w-]+): (#\w+)", part))
                   for part in book.split("html[data-theme=\"dark\"]"))  # fmt: skip
    ours = re.findall(r"var\(--tutor-([\w-]+), (#\w+)\)", demos)
    third = len(ours) // 3
    for number, colours in enumerate((light, dark, dark)):
        for name, colour in ours[third * number : third * (number + 1)]:
            assert colours[name] == colour, name


def test_all_fits_into_a_megabyte():
    """The storyteller, its tokenizer and the code of all demos, as a server compresses them."""
    sizes = {"storyteller": storyteller_script()} | {demo.__name__: demo().html() for demo in DEMOS}
    sizes = {name: len(gzip.compress(text.encode(), 9)) for name, text in sizes.items()}
    print("\n" + ", ".join(f"{name} {size:,} bytes" for name, size in sizes.items()))
    print(f"together {sum(sizes.values()):,} bytes, compressed")
    assert sum(sizes.values()) <= 1_000_000
