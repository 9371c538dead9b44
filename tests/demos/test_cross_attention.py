"""Where the translator reads: real weights, words in order, bets that are counted."""

import re

import pytest
import torch
import traitlets

from tutor_lib.demos import CrossAttention
from tutor_lib.demos.cross_attention import PRESETS, translator
from tutor_lib.experiments.translation_task import DICTIONARY, IDS, START

PRESSED = "() => alone.el.querySelector('.tutor-demo').shadowRoot.textContent"


def by_hand(sentence: str, target: list[str]) -> torch.Tensor:
    """The weights (H, T, S) from queries and keys that a hook caught, one head after another."""
    model, kept = translator(), {}
    block = model.decoder[0].cross
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: kept.update({name: out[0]}))
        for name, layer in (("q", block.q_proj), ("k", block.k_proj))
    ]
    with torch.no_grad():
        source = torch.tensor([[IDS[word] for word in sentence.split()]])
        model(source, torch.tensor([[IDS[START], *(IDS[word] for word in target[:-1])]]))
    for hook in hooks:
        hook.remove()
    size = model.config.head_size
    heads = [slice(i * size, (i + 1) * size) for i in range(model.config.n_heads)]
    return torch.stack(
        [(kept["q"][:, h] @ kept["k"][:, h].T / size**0.5).softmax(-1) for h in heads]
    )


@pytest.mark.parametrize("preset", [*PRESETS])
def test_the_weights_are_the_models(preset):
    demo = CrossAttention(preset)
    found = demo.readings[demo.sentence]
    expected = by_hand(demo.sentence, found["target"])
    torch.testing.assert_close(torch.tensor(found["weights"]), expected, atol=1e-5, rtol=0)
    for word, place in zip(found["target"], found["meant"], strict=True):
        assert DICTIONARY[found["source"][place]] == word


def test_another_sentence_is_read_anew():
    demo = CrossAttention()
    demo.sentence = "the hen sat on the green rug ."
    assert demo.readings[demo.sentence]["target"][0] == DICTIONARY["hen"]
    with pytest.raises(traitlets.TraitError, match="does not know zebra"):
        demo.sentence = "the zebra sat on the rug ."
    with pytest.raises(traitlets.TraitError):
        CrossAttention(head=2)


def test_the_picture_shows_the_chosen_heads_weights():
    demo = CrossAttention(head=1)
    shown = [int(share) for share in re.findall(r"heat-high\) (\d+)%", demo.picture())]
    rows = demo.readings[demo.sentence]["weights"][1]
    assert shown == [round(100 * weight) for row in rows for weight in row]


def test_bets_are_right_where_the_weight_is_largest(code):
    weights = [[[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]], [[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]]
    assert code("betsRight", [{"head": 0, "place": 1}, {"head": 0, "place": 1}], weights) == 1
    assert code("betsRight", [None, {"head": 1, "place": 2}], weights) == 1
    assert code("betsRight", [], weights) == 0


def test_a_reading_in_words(code):
    reading = {"source": ["a", "ball", "."], "target": ["kato", "."], "meant": [1, 2],
               "weights": [[[0.2, 0.7, 0.1], [0.0, 0.5, 0.5]]]}  # fmt: skip
    said = code("readingInWords", reading, 0, 0, 0)
    assert said.startswith("Head 0 looks most at “ball”: 70.0\u00a0%.")
    assert "Your bet, “a”, got 20.0\u00a0%." in said
    assert said.endswith("Then the model writes “kato”, which means “ball”.")
    assert "Your bet was right." in code("readingInWords", reading, 0, 0, 1)
    assert "bet" not in code("readingInWords", reading, 0, 1, None)


def test_a_reader_bets_and_sees(visit):
    """The first word is hidden until the bet; then both heads' first rows and the numbers show."""
    found = CrossAttention().readings[PRESETS["a gift"]]
    most = int(torch.tensor(found["weights"][0][0]).argmax())
    with visit(name="blank") as page:
        page.mount("CrossAttention")
        status = page.get_by_role("status")
        assert status.inner_text() == "Nothing is written yet."
        assert found["target"][1] not in page.evaluate(PRESSED)
        page.get_by_role("group", name="English").get_by_role("button").nth(most).click()
        assert page.trait("step") == 1
        assert "Your bet was right." in status.inner_text()
        assert "1 of 1 bet right." in status.inner_text()
        assert page.get_by_role("img", name="Head 1: weights of 1 of").count() == 1
        page.get_by_role("button", name="Show all").click()
        assert page.trait("step") == len(found["target"])
        for word in found["target"]:
            assert word in page.evaluate(PRESSED)
        page.get_by_text("All weights shown so far").click()
        page.wait_for_function(
            "() => alone.el.querySelector('.tutor-demo').shadowRoot.querySelector('details table')"
        )
        numbers = page.get_by_role("region", name="All weights").locator("td.number")
        expected = [[h, *found["weights"][h][t]] for t in range(len(found["target"]))
                    for h in range(2)]  # fmt: skip
        flat = [float(x) for row in expected for x in row]
        shown = [float(x) for x in numbers.all_inner_texts()]
        assert shown == pytest.approx(flat, abs=0.0006)
        page.get_by_role("button", name="Start over").click()
        assert page.trait("step") == 0


def test_the_bars_are_the_chosen_heads(visit):
    found = CrossAttention().readings[PRESETS["a find"]]
    with visit(name="blank") as page:
        page.mount("CrossAttention", sentence=PRESETS["a find"], step=2, head=1)
        shown = page.get_by_role("group", name="English").locator("small").all_inner_texts()
    for text, weight in zip(shown, found["weights"][1][1], strict=True):
        value = float(re.sub(r"[^\d.]", "", text))
        assert value == pytest.approx(100 * weight, abs=0.11)


def test_another_sentence_begins_anew(visit):
    with visit(name="blank") as page:
        page.mount("CrossAttention", step=3)
        page.get_by_role("button", name="a find").click()
        assert page.trait("step") == 0
        words = page.get_by_role("group", name="English").locator(".token").all_inner_texts()
        assert words == PRESETS["a find"].split()
