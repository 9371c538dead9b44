"""Sinusoidal positions in JavaScript as in PyTorch, and as a reader reads them."""

import math
import re

import pytest

from tutor_lib.demos import Positions
from tutor_lib.embed.positions import sinusoidal_positions


@pytest.mark.parametrize("size", [2, 14, 64])
def test_sinusoidal(code, size):
    expected = sinusoidal_positions(37, size)
    for t in (0, 1, 5, 36):
        assert code("sinusoidal", t, size) == pytest.approx(expected[t].tolist(), abs=1e-5)


@pytest.mark.parametrize("size", [14, 32])
def test_the_product_depends_on_the_distance_alone(code, size):
    pattern = sinusoidal_positions(37, size).double()
    for t, s in [(3, 7), (13, 17), (36, 32), (5, 5)]:
        expected = (pattern[t] @ pattern[s]).item()
        assert code("productAt", abs(t - s), size) == pytest.approx(expected, abs=1e-4)


def test_wavelength(code):
    """After one wavelength the angle has grown by a full turn."""
    for column, exponent in [(0, 0), (1, 0), (6, 6 / 14), (7, 6 / 14)]:
        expected = 2 * math.pi * 10_000**exponent
        assert code("wavelength", column, 14) == pytest.approx(expected)
        assert code("waveFrequency", column, 14) * expected == pytest.approx(2 * math.pi)


def test_a_number_is_read(visit):
    pattern = sinusoidal_positions(32, 32)
    with visit(name="blank") as page:
        page.mount("Positions")
        page.get_by_role("slider", name="Position", exact=True).fill("9")
        page.get_by_role("slider", name="Number in the vector").fill("7")
        value = f"{pattern[9, 7].item():.4f}".replace("-", "−")
        assert page.locator(".formula b").inner_text() == value
        page.locator(".map").hover(position={"x": 2, "y": 2})
        assert page.locator(".formula").inner_text().startswith("Position 0, number 0: sin")
        page.locator(".map").click(position={"x": 2, "y": 2})
        assert [page.trait("position"), page.trait("column")] == [0, 0]


def test_a_smaller_vector_has_fewer_columns(visit):
    with visit(name="blank") as page:
        page.mount("Positions", column=31)
        page.get_by_role("radio", name="16").click()
        assert page.trait("column") == 15
        assert page.get_by_role("slider", name="Number in the vector").get_attribute("max") == "15"


def test_two_rows_moved_together(visit):
    product = (sinusoidal_positions(32, 32)[3] @ sinusoidal_positions(32, 32)[7]).item()
    with visit(name="blank") as page:
        page.mount("Positions")
        status = page.locator("section[aria-label='Two positions'] [role=status]")
        assert not status.is_visible()
        page.get_by_role("button", name="the same").click()
        assert status.locator("b").inner_text() == f"{product:.4f}"
        page.get_by_role("button", name="Move both by 5", exact=True).click()
        assert [page.trait("position"), page.trait("other")] == [8, 12]
        assert status.locator("b").inner_text() == f"{product:.4f}"
        page.get_by_role("slider", name="The other position").fill("13")
        assert status.locator("b").inner_text() != f"{product:.4f}"
        page.get_by_role("slider", name="Position", exact=True).fill("30")
        page.get_by_role("button", name="Move both by 5", exact=True).press("Enter")
        assert page.trait("position") == 30


def test_the_picture_shows_the_pattern():
    shown = [int(x) for x in re.findall(r"(\d+)%,var\(--td-paper", Positions(width=0).picture())]
    pattern = sinusoidal_positions(32, 16).flatten()
    assert shown == [round(100 * abs(x)) for x in pattern.tolist()]
