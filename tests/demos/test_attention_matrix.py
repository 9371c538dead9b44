"""All heads at a glance: names that were measured, reading bit by bit, maps of few paths."""

import json
import re

import pytest
import torch

from tutor_lib.demos import AttentionMatrix
from tutor_lib.demos.attention_matrix import PRESETS
from tutor_lib.demos.head_names import MEASURES, PATH, measure, measured_heads
from tutor_lib.demos.weights import storyteller
from tutor_lib.inside.trace import attention_weights

TEXT = PRESETS["it was tired"]


def test_the_stored_scores_are_those_measured_now():
    fresh = measure()
    assert [m["name"] for m in fresh] == [m["name"] for m in measured_heads()] == [*MEASURES]
    for mine, stored in zip(fresh, measured_heads(), strict=True):
        assert stored["about"] == mine["about"]
        assert stored["least"] == mine["least"]
        torch.testing.assert_close(
            torch.tensor(stored["scores"]), torch.tensor(mine["scores"]), atol=0.01, rtol=0
        )
    assert json.loads(PATH.read_text())["command"] == "python -m tutor_lib.demos.head_names"


def test_names_are_earned_by_score(code):
    measured = [{"name": "a", "least": 0.5, "scores": [[0.5, 0.4]]},
                {"name": "b", "least": 0.8, "scores": [[0.9, 0.7]]}]  # fmt: skip
    assert code("headNames", measured, 0, 0) == ["a", "b"]
    assert code("headNames", measured, 0, 1) == []


def test_each_measure_names_a_head_of_the_storyteller(code):
    config = storyteller()[0].config
    named = {
        name: (layer, head)
        for layer in range(config.n_layers)
        for head in range(config.n_heads)
        for name in code("headNames", measured_heads(), layer, head)
    }
    assert {*named} == {*MEASURES}
    assert named["previous token"][0] < named["induction"][0]


def test_arrows_in_a_grid_that_is_not_square(code):
    assert code("moved", "ArrowDown", [2, 3], 3, 4) == [2, 3]
    assert code("moved", "ArrowRight", [1, 2], 3, 4) == [1, 3]
    assert code("moved", "End", [1, 0], 3, 4) == [1, 3]
    assert code("moved", "ArrowUp", [1, 3], 3, 4) == [0, 3]


@pytest.mark.parametrize("slice_", [1, 5, 100])
def test_a_text_read_bit_by_bit_has_the_same_heads(teller, slice_):
    """One text after another, sharing a beginning; the first one's heads stay as they were."""
    encode = storyteller()[1].encode
    texts = [encode(TEXT), encode(PRESETS["it was soft"]), encode(TEXT)[:4], encode("A hen")]
    found = teller.evaluate(
        """([texts, slice]) => { const reading = new code.TracedReading(teller);
             const read = (ids) => { reading.begin(ids); while (!reading.more(slice)); };
             return texts.map((ids) => { read(ids); return reading.heads; })
               .map((heads) => heads.map((row) => row.map(({ weights }) => plain(weights)))); }""",
        [texts, slice_],
    )
    for ids, heads in zip(texts, found, strict=True):
        expected = attention_weights(storyteller()[0], torch.tensor([ids]))[:, 0]
        for layer, row in enumerate(heads):
            for number, weights in enumerate(row):
                assert [len(w) for w in weights] == [t + 1 for t in range(len(ids))]
                for t, w in enumerate(weights):
                    near = expected[layer, number, t, : t + 1].tolist()
                    assert w == pytest.approx(near, abs=1e-5)


def test_paths_hold_each_cell_once(code):
    torch.manual_seed(0)
    rows = [torch.rand(n).tolist() for n in (7, 3, 0, 11)]
    paths = code("heatPaths", rows, 5)
    assert len(paths) == 6
    found = {}
    for level, d in enumerate(paths):
        for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", d):
            assert (int(y), int(x)) not in found
            found[int(y), int(x)] = level
    expected = {(y, x): int(5 * w + 0.5) for y, row in enumerate(rows) for x, w in enumerate(row)}
    assert found == expected


def test_thumbnails_choose_a_head_with_arrows(visit):
    with visit(name="blank") as page:
        page.mount("AttentionMatrix")
        group = page.get_by_role("radiogroup", name="Layer and head")
        config = storyteller()[0].config
        assert group.get_by_role("radio").count() == config.n_layers * config.n_heads
        group.get_by_role("radio", name="Layer 0, head 3: previous token").click()
        assert [page.trait("layer"), page.trait("head")] == [0, 3]
        group.get_by_role("radio", checked=True).press("ArrowDown")
        assert [page.trait("layer"), page.trait("head")] == [1, 3]
        page.keyboard.press("ArrowRight")  # at the edge
        assert [page.trait("layer"), page.trait("head")] == [1, 3]
        page.keyboard.press("Home")
        assert [page.trait("layer"), page.trait("head")] == [1, 0]
        checked = group.get_by_role("radio", checked=True)
        assert checked.count() == 1
        assert checked.get_attribute("aria-label") == "Layer 1, head 0: induction"
        assert page.locator("[role=radio][tabindex='0']").count() == 1


def test_a_click_on_the_map_chooses_its_cell(visit):
    with visit(name="blank") as page:
        page.mount("AttentionMatrix", layer=1, head=2)
        n = len(storyteller()[1].encode(TEXT))
        grid = page.get_by_role("grid")
        size = grid.bounding_box()["width"] / n
        grid.click(position={"x": 2.5 * size, "y": 5.5 * size})
        assert [page.trait("query"), page.trait("key")] == [5, 2]
        cell = page.get_by_role("gridcell")
        assert cell.count() == 1
        ids = torch.tensor([storyteller()[1].encode(TEXT)])
        share = attention_weights(storyteller()[0], ids)[1, 0, 2, 5, 2].item()
        shown = "<\u00a00.1" if share < 0.0005 else f"{100 * share:.1f}"
        assert cell.get_attribute("aria-label").endswith(f": {shown}\u00a0%")
        assert cell.evaluate("(node) => node.getRootNode().activeElement === node")


def test_all_weights_can_be_read(visit):
    """The table is made when it is opened, and follows the head."""
    weights = attention_weights(storyteller()[0], torch.tensor([storyteller()[1].encode(TEXT)]))
    with visit(name="blank") as page:
        page.mount("AttentionMatrix", layer=2, head=1)
        page.get_by_text("All weights of this head").click()
        table = page.get_by_role("region", name="All weights of this head")
        for head in (1, 3):
            page.evaluate("(head) => alone.model.set('head', head)", head)
            shown = table.locator("tbody td").all_inner_texts()
            n = weights.size(-1)
            assert len(shown) == n * n
            for i, text in enumerate(shown):
                t, s = divmod(i, n)
                if s > t:
                    assert text == "masked"
                else:
                    value = float(re.sub(r"[^\d.]", "", text))
                    assert value == pytest.approx(100 * weights[2, 0, head, t, s].item(), abs=0.11)


def test_a_longer_text_is_drawn_in_turns(visit):
    """What was shown stays until the new text is read; typing on shows the last text alone."""
    with visit(name="blank") as page:
        page.mount("AttentionMatrix")
        for text in ("the hen sat " * 9, "Tom said: red key. Mia"):
            page.evaluate("(text) => alone.model.set('text', text)", text)
        n = len(storyteller()[1].encode("Tom said: red key. Mia"))
        page.wait_for_function(
            """(n) => alone.el.querySelector('.tutor-demo').shadowRoot
                 .querySelector('[role=grid]').getAttribute('aria-rowcount') === String(n)""",
            arg=n,
        )
        assert page.trait("query") == n - 1
        assert not page.complaints


def test_the_demo_carries_the_measures():
    assert AttentionMatrix().measured == measured_heads()
