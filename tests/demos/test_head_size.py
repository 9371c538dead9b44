"""HeadSize: its random numbers and its arithmetic against PyTorch, and the reader's slider."""

import math

import pytest
import torch

from tutor_lib.attention.core import scaled_dot_product_attention
from tutor_lib.demos import HeadSize


def test_normals(code):
    """Box and Muller's formula on the same uniform numbers; and a normal's first moments."""
    found = code.page.evaluate("() => [...code.normals(code.random(3), 7)]")
    uniform = code.page.evaluate(
        "() => { const next = code.random(3); return Array.from({ length: 8 }, next); }"
    )
    expected = []
    for first, second in zip(uniform[::2], uniform[1::2], strict=True):
        radius = math.sqrt(-2 * math.log(1 - first))
        turn = 2 * math.pi * second
        expected += [radius * math.cos(turn), radius * math.sin(turn)]
    assert found == pytest.approx(expected[:7], abs=1e-9)
    many = torch.tensor(code.page.evaluate("() => [...code.normals(code.random(5), 20011)]"))
    moments = [(many**n).mean().item() for n in (1, 2, 3, 4)]
    assert moments == pytest.approx([0, 1, 0, 3], abs=0.12)


def test_growing_dots(code):
    q, keys, sizes = torch.randn(13), torch.randn(5, 13), [2, 3, 7, 13]
    found = code("growingDots", q.tolist(), keys.tolist(), sizes)
    expected = torch.stack([keys[:, :size] @ q[:size] for size in sizes])
    torch.testing.assert_close(torch.tensor(found), expected, atol=1e-5, rtol=1e-5)


def test_both_ways(code):
    q, k = torch.randn(3, 1, 7, dtype=torch.float64), torch.randn(3, 5, 7, dtype=torch.float64)
    dots = (q @ k.mT)[:, 0]
    without, scaled = code("bothWays", dots.tolist(), 7)
    _, right = scaled_dot_product_attention(*(x[:, None] for x in (q, k, k)))
    for found, weights, scores in [
        (scaled, right[:, 0, 0], dots / 7**0.5),
        (without, dots.softmax(dim=-1), dots),
    ]:
        assert found["spread"] == pytest.approx((scores**2).mean().sqrt().item(), abs=1e-5)
        assert found["largest"] == pytest.approx(weights.amax(dim=-1).mean().item(), abs=1e-5)
        torch.testing.assert_close(
            torch.tensor(found["weights"]).double(), weights, atol=1e-5, rtol=0
        )


def test_nothing_grows_before_the_bet(visit):
    with visit(name="blank") as page:
        page.mount("HeadSize")
        slider, status = page.get_by_label("Head size D"), page.locator("[role=status]")
        assert not slider.is_visible()
        page.get_by_role("button", name="It stays as it is").click()
        assert slider.get_attribute("aria-valuetext") == "2"
        for _ in range(9):
            slider.press("ArrowRight")
        assert slider.get_attribute("aria-valuetext") == "1024"
        assert status.inner_text().startswith("Not so. At D = 1,024")
        page.get_by_role("button", name="It goes to 1", exact=True).click()
        assert status.inner_text().startswith("Well predicted")


def test_without_the_division_the_largest_weight_goes_to_one(visit):
    """As in PyTorch, on whatever draw."""
    expected = {size: shares for size, *shares in HeadSize().largest_weights()}
    with visit(name="blank") as page:
        page.mount("HeadSize", bet=1, power=10)
        page.get_by_text("These head sizes in numbers").click()
        rows = page.locator("details tbody tr")
        for _ in range(3):
            texts = [row.split("\t") for row in rows.all_inner_texts()]
            assert len(texts) == 10
            for size, (without, scaled) in expected.items():
                row = texts[int(math.log2(size)) - 1]
                found = [float(x.split("\u00a0")[0]) / 100 for x in row[-2:]]
                assert found == pytest.approx([without, scaled], abs=0.12)
                assert float(row[2]) == pytest.approx(size**0.5, rel=0.35)
            page.get_by_role("button", name="Draw other vectors").click()


def test_the_picture_shows_what_torch_drew():
    picture = HeadSize().picture()
    for size, without, scaled in HeadSize().largest_weights():
        assert f"D = {size}<" in picture
        assert f">{100 * without:.0f} %<" in picture
        assert f">{100 * scaled:.0f} %<" in picture
