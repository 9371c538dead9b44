"""The networks' paths in the browser: its arithmetic against NumPy, and what a reader sees."""

import re

import numpy as np
import pytest
import traitlets

from tutor_lib.demos import PathLength
from tutor_lib.experiments.path_length import relative
from tutor_lib.experiments.record import load_record

STORED = load_record("path_length")["results"]["models"]
ROOT = "alone.el.querySelector('.tutor-demo').shadowRoot"


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def test_each_signal_is_a_share_of_the_first(code, rng):
    signals = rng.exponential(size=17).tolist()
    assert code("shareOfFirst", signals) == pytest.approx(relative(signals), rel=1e-12)


def test_the_scale_is_logarithmic(code, rng):
    shares = 10.0 ** rng.uniform(-6, 0, 17)
    expected = np.interp(np.log10(shares), [-6, 0], [0, 1])
    found = [code("logScale", share, 1e-6) for share in shares.tolist()]
    assert found == pytest.approx(expected.tolist(), abs=1e-5)
    assert [code("logScale", share, 1e-6) for share in (0.0, 1e-9, 1e-6, 1.0, 7.0)] == [
        0,
        0,
        0,
        1,
        1,
    ]


def test_lost_is_where_it_stays_lost(code, rng):
    for _ in range(20):
        right = rng.uniform(size=13)
        well = np.flatnonzero(right >= 0.75)
        expected = int(well[-1]) + 2 if len(well) else 1
        assert code("lostFrom", right.tolist(), 0.75) == (None if expected == 14 else expected)


def test_the_bet_that_holds_what_was_measured(code):
    ends = [4, 16, 64, 1e9]
    lost = [1, 4, 5, 16, 17, 64, None]
    assert [code("rightAnswer", at, ends) for at in lost[:-1]] == [0, 0, 1, 1, 2, 2]
    page = code.page
    assert page.evaluate("() => code.rightAnswer(null, [4, 16, 64, Infinity])") == 3


def test_a_chain_has_a_step_a_token(code):
    assert [code("pathSteps", True, d) for d in (1, 13)] == [1, 13]
    assert [code("pathSteps", False, d) for d in (1, 13)] == [1, 1]


@pytest.mark.parametrize("value", [1.0, 0.4267, 0.01, 0.0099, 3.21e-5, 9.99e-18, 1.7e-10])
def test_small_numbers_keep_their_digits(code, value):
    """Read back as a number, the text is within its last digit."""
    said = code("powerOfTen", value)
    plain = said.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")).replace(" × 10", "e")
    assert float(plain) == pytest.approx(value, rel=0.05)


def test_nothing_is_told_before_the_bet(visit):
    with visit(name="blank") as page:
        page.mount("PathLength", distance=5)
        assert page.locator(".links").count() == 3
        assert [page.locator(".links").nth(i).locator("i").count() for i in range(3)] == [5, 5, 1]
        assert not page.locator(".bars").first.is_visible()
        assert not page.locator(".links i[style]").count()


def test_a_bet_is_kept_and_settled(visit):
    with visit(name="blank") as page:
        page.mount("PathLength", distance=7)
        page.get_by_role("button", name="not at all").click()
        assert page.trait("bet") == 3
        assert page.locator(".verdict").inner_text().startswith("Your bet: not at all.")
        assert page.get_by_role("button", name="not at all").get_attribute("aria-pressed") == "true"
        held = [i for i, share in enumerate(STORED["RNN"]["right"], 1) if share >= 0.75]
        lost = held[-1] + 1 if held else 1
        assert f"from distance {lost} on" in page.locator(".verdict").inner_text()


@pytest.mark.parametrize(("trained", "when"), [(0, "before"), (1, "after")])
def test_every_number_is_the_record_s(visit, trained, when):
    """The bars, the words and the table say what the stored run found."""
    with visit(name="blank") as page:
        page.mount("PathLength", distance=11, bet=0, trained=trained)
        words = page.locator("[role=status]").inner_text()
        shares = {name: relative(found["signal"][when])[10] for name, found in STORED.items()}
        for name, share in shares.items():
            said = re.search(rf"{name}: \d+ steps?, (\S+)(?: × 10(\S+))? of the signal", words)
            digits = (said[2] or "⁰").translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-"))
            digits = digits.rstrip(",")
            assert float(said[1]) * 10.0 ** int(digits) == pytest.approx(share, rel=0.05)
        page.locator("summary").click()
        table = page.locator("details table")
        assert table.locator("tbody tr").count() == len(STORED["RNN"]["right"])
        row = table.locator("tbody tr").nth(10).locator("td").all_inner_texts()
        assert len(row) == (6 if trained else 3)
        if trained:
            right = [f"{100 * found['right'][10]:.1f}\u00a0%" for found in STORED.values()]
            assert row[3:] == right
            assert page.locator(".bars").nth(1).locator("td.number").all_inner_texts() == right
        else:
            assert not page.locator(".bars").nth(1).is_visible()


def test_the_links_fade_as_the_signal_does(visit):
    with visit(name="blank") as page:
        page.mount("PathLength", distance=13, bet=0)
        heats = page.evaluate(
            f"() => [...{ROOT}.querySelectorAll('.links')[0].children]"
            ".map((node) => parseInt(node.style.getPropertyValue('--heat')))"
        )
        shares = np.array(relative(STORED["RNN"]["signal"]["after"])[:13])
        expected = np.interp(np.log10(shares), [-6, 0], [0, 100])
        np.testing.assert_allclose(heats, expected, atol=0.51)


def test_a_distance_that_was_not_measured_is_refused():
    furthest = len(STORED["RNN"]["right"])
    assert PathLength(distance=furthest).distance == furthest
    with pytest.raises(traitlets.TraitError, match=f"up to {furthest}, got {furthest + 1}"):
        PathLength(distance=furthest + 1)


def test_the_picture_shows_the_last_shares():
    picture = PathLength().picture()
    for name, found in STORED.items():
        assert name in picture
        assert f"{100 * found['right'][-1]:.1f} %" in picture
