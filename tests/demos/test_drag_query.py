"""DragQuery: its arithmetic against tutor_lib, and a query moved in every way."""

import cmath
import math

import pytest
import torch
import traitlets

from tutor_lib.attention.core import scaled_dot_product_attention
from tutor_lib.demos import DragQuery


@pytest.mark.parametrize(("keys", "size"), [(5, 2), (7, 3)])
def test_mix(code, keys, size):
    q, k, v = torch.randn(1, size), torch.randn(keys, size), torch.randn(keys, 2)
    found = code("mixOf", q[0].tolist(), k.tolist(), v.tolist())
    mixed, weights = scaled_dot_product_attention(*(x[None, None].double() for x in (q, k, v)))
    assert found["dots"] == pytest.approx((k @ q[0]).tolist(), abs=1e-5)
    assert found["scores"] == pytest.approx((k @ q[0] / size**0.5).tolist(), abs=1e-5)
    assert found["weights"] == pytest.approx(weights.flatten().tolist(), abs=1e-5)
    assert found["mixed"] == pytest.approx(mixed.flatten().tolist(), abs=1e-5)


@pytest.mark.parametrize("angle", [0, 37, 90, 181, 271.5, 359])
def test_polar(code, angle):
    x, y = code("fromPolar", 1.7, angle)
    expected = cmath.rect(1.7, math.radians(angle))
    assert (x, y) == pytest.approx((expected.real, expected.imag), abs=1e-9)
    back = code("toPolar", [x, y])
    assert (back["length"], back["angle"]) == pytest.approx((1.7, angle), abs=1e-5)


def test_the_origin_keeps_its_angle(code):
    assert code("toPolar", [0, 0], 73) == {"length": 0, "angle": 73}


def test_a_bet_doubles_the_query(visit):
    with visit(name="blank") as page:
        page.mount("DragQuery", length=1.5, angle=35)
        status = page.locator("[role=status]")
        before, after = (
            DragQuery(length=1.5, angle=35).mixture()[1],
            DragQuery(length=3.0, angle=35).mixture()[1],
        )
        page.get_by_role("button", name="They even out").click()
        assert page.trait("length") == 3
        told = status.inner_text().replace("\u00a0", " ")
        assert told.startswith("Not so.")
        assert f"{100 * max(before):.1f} %" in told
        assert f"{100 * max(after):.1f} %" in told
        assert page.locator(".ghost").count() == 4
        page.get_by_role("button", name="The largest grows").click()
        assert "Well predicted" in status.inner_text()
        page.get_by_label("Direction").fill("200")
        assert page.locator(".ghost").count() == 0
        assert page.locator(".bets [aria-pressed=true]").count() == 0


def test_the_pointer_drags_the_query(visit):
    with visit(name="blank") as page:
        page.mount("DragQuery")
        box = page.locator("svg.drag").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        unit = box["width"] / 8.8
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0], middle[1] - 2 * unit)
        page.mouse.up()
        page.mouse.move(*middle)  # let go: it stays
        assert page.trait("length") == pytest.approx(2, abs=0.02)
        assert page.trait("angle") == pytest.approx(90, abs=0.5)
        assert "(0.00, 2.00)" in page.locator("[role=status]").inner_text()


def test_arrow_keys_move_the_query(visit):
    with visit(name="blank") as page:
        page.mount("DragQuery", length=1.0, angle=0.0)
        handle = page.locator(".handle")
        handle.focus()
        for key in ["ArrowUp"] * 3 + ["ArrowLeft"] * 2:
            page.keyboard.press(key)
        assert "(0.80, 0.30)" in handle.get_attribute("aria-label")
        for _ in range(60):
            page.keyboard.press("ArrowRight")
        assert page.trait("length") == 4


def test_all_numbers_are_in_the_table(visit):
    with visit(name="blank") as page:
        page.mount("DragQuery", length=2.0, angle=120.0)
        page.get_by_text("All numbers").click()
        table = page.locator("details table").inner_text()
        mixed, weights = DragQuery(length=2.0, angle=120.0).mixture()
        for weight in weights:
            assert f"{weight:.3f}" in table
        assert f"({mixed[0]:.2f}, {mixed[1]:.2f})".replace("-", "−") in table


def test_a_pair_is_four_numbers():
    with pytest.raises(traitlets.TraitError, match="length 4"):
        DragQuery(pairs=[[1.0, 2.0, 3.0]])
    assert f"{100 * DragQuery().mixture()[1][0]:.1f} %" in DragQuery().picture()
