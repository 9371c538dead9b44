"""One neuron in JavaScript against PyTorch with that neuron read, and set to 0."""

import pytest
import torch
from traitlets import TraitError

from tutor_lib.demos.neuron import SENTENCE, Neuron, searched, strongest, telling
from tutor_lib.demos.weights import pack, storyteller
from tutor_lib.inside.ablate import without_neuron
from tutor_lib.model.config import DecoderConfig
from tutor_lib.model.decoder import Decoder


def activations(model, ids, layer):
    """What the layer's down projection is given, by a hook of our own."""
    seen = []
    down = model.blocks[layer].ffn.down_proj
    hook = down.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(torch.tensor([ids]))
    hook.remove()
    return seen[0][0]


def silenced(model, ids, layer, neuron):
    """The logits at the last token with the neuron's column of W_down set to 0."""
    down = model.blocks[layer].ffn.down_proj.weight
    kept = down.data[:, neuron].clone()
    down.data[:, neuron] = 0
    with torch.no_grad():
        logits = model(torch.tensor([ids]))[0]
    down.data[:, neuron] = kept
    return logits


def close(found, expected, tolerance):
    torch.testing.assert_close(
        torch.tensor(found).float(), expected, atol=tolerance, rtol=tolerance
    )


@pytest.fixture(scope="module")
def small():
    """Another shape, with random weights of moderate size."""
    torch.manual_seed(5)
    model = Decoder(DecoderConfig(269, 19, 2, 66, 33, 11, 53, rope_base=77.0))
    for p in model.parameters():
        p.data = (0.1 * torch.randn_like(p)).half().float()
    return model, torch.randint(269, (13,)).tolist()


@pytest.fixture(scope="module")
def small_teller(code, small):
    data, weights = pack(small[0], storyteller()[1])
    code.page.evaluate(
        """([data, weights]) => { globalThis.small = new code.Storyteller(
             { ...data, weights: Uint8Array.from(weights) }); }""",
        [data, list(weights)],
    )
    return code.page


READ = """([ids, off]) => plain(code.readNeurons(TELLER, ids, TELLER.newCache(), off))"""


@pytest.mark.parametrize("layer", [0, 1])
def test_every_neuron(small_teller, small, layer):
    model, ids = small
    found = small_teller.evaluate(READ.replace("TELLER", "small"), [ids, None])
    close([step["neurons"][layer] for step in found], activations(model, ids, layer), 1e-5)


@pytest.mark.parametrize(("layer", "neuron"), [(0, 7), (1, 52)])
def test_without_a_neuron(small_teller, small, layer, neuron):
    model, ids = small
    found = small_teller.evaluate(READ.replace("TELLER", "small"), [ids, [layer, neuron]])
    close([step["logits"] for step in found], silenced(model, ids, layer, neuron), 1e-5)
    with torch.no_grad(), without_neuron(model, layer, neuron):
        again = model(torch.tensor([ids]))[0]
    close([step["logits"] for step in found], again, 1e-5)
    assert all(step["neurons"][layer][neuron] == 0 for step in found)


@pytest.mark.parametrize(("layer", "neuron"), [(0, 3), (1, 47)])
def test_what_it_writes(small_teller, small, layer, neuron):
    """Against the difference that it makes to the logits with the last norm's scale taken out."""
    model = small[0]
    found = small_teller.evaluate(
        "([layer, neuron]) => plain(code.neuronWrites(small, layer, neuron))", [layer, neuron]
    )
    column = model.blocks[layer].ffn.down_proj.weight[:, neuron]
    expected = (column * model.final_norm.weight) @ model.embedding.weight.T
    close(found, expected.detach(), 1e-5)


def test_the_storyteller_without_its_most_missed(teller):
    model, tokenizer = storyteller()
    ids = tokenizer.encode(SENTENCE)
    layer, neuron = map(int, [*telling().values()][2].split("."))
    found = teller.evaluate(READ.replace("TELLER", "teller"), [ids, [layer, neuron]])
    expected = silenced(model, ids, layer, neuron)[-1].softmax(-1)
    close(torch.tensor(found[-1]["logits"]).softmax(-1).tolist(), expected, 1e-4)


def test_the_most_missed_of_all():
    """No other neuron's absence takes more of “cat”: each tried by itself, one by one."""
    model, tokenizer = storyteller()
    ids = tokenizer.encode(SENTENCE)
    with torch.no_grad():
        answer = model(torch.tensor([ids]))[0, -1].argmax()
    layer, neuron = map(int, [*telling().values()][2].split("."))
    least = silenced(model, ids, layer, neuron)[-1].softmax(-1)[answer]
    for other in range(0, model.config.d_ff, 7):
        for another in range(model.config.n_layers):
            left = silenced(model, ids, another, other)[-1].softmax(-1)[answer]
            assert left >= least - 1e-6


def test_examples_are_the_largest_of_their_stories():
    model, tokenizer = storyteller()
    stories = searched().stories
    layer, neuron = 1, 101
    peaks = []
    for number, story in enumerate(stories):
        values = activations(model, tokenizer.encode(story), layer)[:, neuron]
        at = int(values.abs().argmax())
        peaks.append((abs(values[at].item()), number, at, values[at].item()))
    for (_, number, at, value), example in zip(
        sorted(peaks, reverse=True), strongest()[layer][neuron], strict=False
    ):
        assert example[:2] == [number, at]
        assert example[2] == pytest.approx(value, abs=1e-3)


def test_the_presets_do_what_they_say():
    """The first preset's examples stand on its word, the second's before its word."""
    tokenizer = storyteller()[1]
    for offset, (name, unit) in enumerate([*telling().items()][:2]):
        layer, neuron = map(int, unit.split("."))
        word = name.split("“")[1].rstrip("”").replace("␣", " ")
        for story, at, _ in strongest()[layer][neuron]:
            ids = tokenizer.encode(searched().stories[story])
            assert tokenizer.decode([ids[at + offset]]) == word


def test_what_becomes_of_the_first(code):
    found = code("lossOfFirst", [0.2, 0.5, 0.3], [0.1, 0.3, 0.6])
    assert found == {"first": 1, "now": 2, "before": 0.5, "after": 0.3, "stays": False}
    assert code("lossOfFirst", [0.2, 0.8], [0.4, 0.6])["stays"] is True


@pytest.mark.parametrize("unit", ["3.0", "0.192", "0", "0.1.2", "-1.0", "x.y", ""])
def test_there_is_no_such_neuron(unit):
    with pytest.raises(TraitError, match="no neuron"):
        Neuron(unit=unit)


def test_a_reader_switches_it_off(visit):
    name, unit = [*telling().items()][2]
    model, tokenizer = storyteller()
    ids = tokenizer.encode(SENTENCE)
    layer, neuron = map(int, unit.split("."))
    with_it = model(torch.tensor([ids]))[0, -1].softmax(-1)
    without = silenced(model, ids, layer, neuron)[-1].softmax(-1)
    first = int(with_it.argmax())
    with visit(name="blank") as page:
        page.mount("Neuron")
        page.get_by_role("button", name=name).click()
        assert page.trait("unit") == unit
        assert not page.locator("[aria-label='Switch it off'] table").is_visible()
        page.get_by_role("button", name="It stays, but moves further").click()
        said = " ".join(page.locator("[role=status]").all_text_contents())
        assert (
            f"has {100 * without[first]:.1f}\u00a0% instead of {100 * with_it[first]:.1f}" in said
        )
        assert "As you said." in said
        values = activations(model, ids, layer)[:, neuron].tolist()
        shown = page.locator(".token-row small").all_text_contents()
        assert [float(x.replace("−", "-")) for x in shown] == pytest.approx(values, abs=0.006)
        page.get_by_label("Neuron, 0 to").fill("5")
        assert page.trait("unit") == f"{layer}.5"
        assert not page.locator("[aria-label='Switch it off'] table").is_visible()
        assert not page.complaints


def test_another_token_and_no_text(visit):
    model, tokenizer = storyteller()
    with visit(name="blank") as page:
        page.mount("Neuron")
        page.get_by_role("radio", name="because").check(force=True)
        ids = tokenizer.encode(SENTENCE)[: page.trait("position") + 1]
        best = model(torch.tensor([ids]))[0, -1].softmax(-1).max()
        asked = page.locator("[aria-label='Switch it off'] p").first.text_content()
        assert f"{100 * best:.1f}\u00a0%" in asked
        field = page.get_by_label("Text", exact=True)
        field.fill("")
        assert "Type a text" in " ".join(page.locator(".note").all_text_contents())
        assert not page.get_by_role("button", name="It stays, within").is_visible()
        field.fill("The dog")
        assert page.get_by_role("button", name="It stays, within").is_visible()
        assert not page.complaints
