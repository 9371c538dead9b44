"""Temperature: the rows held to tutor_lib.predict.sampling, and the bet a reader makes."""

import pytest
import torch
import traitlets

from tutor_lib.demos import Temperature
from tutor_lib.demos.temperature import CHALLENGES
from tutor_lib.demos.weights import storyteller
from tutor_lib.predict.sampling import Sampler, top_k

SETTINGS = [
    {},
    {"temperature": 0.7, "top_k": 5},
    {"temperature": 2.0, "top_p": 0.8},
    {"min_p": 0.2},
    {"temperature": 1.3, "top_k": 11, "top_p": 0.7, "min_p": 0.3},
]


def in_the_page(temperature=1.0, top_k=0, top_p=1.0, min_p=0.0):
    return {"temperature": temperature, "topK": top_k, "topP": top_p, "minP": min_p}


def sampler(settings):
    return Sampler(**{**settings, "top_k": settings.get("top_k") or None})


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_rows(code, settings):
    """Logits, probabilities, cumulative sums and cuts of the seven most probable tokens."""
    logits = 2 * torch.randn(1, 31, generator=torch.Generator().manual_seed(11))
    rows = code("survivalRows", logits[0].tolist(), in_the_page(**settings), 7)
    ids = logits[0].argsort(descending=True)[:7]
    assert [row["id"] for row in rows] == ids.tolist()
    hot = logits / settings.get("temperature", 1)
    after = sampler(settings).probabilities(logits)[0, ids]
    left = top_k(hot, settings.get("top_k", 31)).softmax(-1)[0, ids]
    for name, expected in {
        "logit": logits[0, ids],
        "plain": logits.softmax(-1)[0, ids],
        "before": hot.softmax(-1)[0, ids],
        "cumulative": left.cumsum(0),
        "ratio": (hot - hot.max()).exp()[0, ids],
        "after": after,
    }.items():
        found = torch.tensor([row[name] for row in rows])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert [row["cut"] == 0 for row in rows] == (after > 0).tolist()


def test_right_bets(code):
    rows = [{"id": 5, "cut": 0}, {"id": 3, "cut": 2}, {"id": 8, "cut": 0}, {"id": 1, "cut": 4}]
    assert code("rightBets", rows, [5, 3]) == 2
    assert code("rightBets", rows, [5, 8]) == 4
    assert code("rightBets", rows, []) == 2


def survivors(**settings):
    """The ids that a challenge leaves after the demo's first prompt, by the library."""
    model, tokenizer = storyteller()
    with torch.no_grad():
        logits = model(torch.tensor([tokenizer.encode(Temperature().prompt)]))[:, -1]
    probabilities = sampler(settings).probabilities(logits)[0]
    return probabilities.nonzero().flatten().tolist(), logits[0].topk(8).indices.tolist()


@pytest.mark.parametrize("challenge", CHALLENGES)
def test_the_best_bet_is_all_right(visit, challenge):
    left, top = survivors(**CHALLENGES[challenge])
    with visit(name="blank") as page:
        page.mount("Temperature")
        page.get_by_role("button", name=challenge, exact=True).click()
        assert page.locator(".bars").is_hidden()
        for i in {*left} & {*top}:
            page.locator(f".bet input[value='{i}']").check()
        page.get_by_role("button", name="Reveal").click()
        told = page.get_by_role("status").inner_text()
        assert f"{len(left)} of 640 tokens survive" in told
        assert "Your ticks fit 8 of 8 tokens" in told
        notes = page.locator(".bet small").all_inner_texts()
        assert notes == ["✓ stays" if i in left else "✗ cut" for i in top]
        assert not page.complaints


def test_bets_add_up_and_the_settings_move_what_is_shown(visit):
    with visit(name="blank") as page:
        page.mount("Temperature")
        reveal = page.get_by_role("button", name="Reveal")
        reveal.click()
        kept = len({*survivors(top_p=0.8)[0]} & {*survivors()[1]})
        assert (
            f"in all your bets so far, {8 - kept} of 8" in page.get_by_role("status").inner_text()
        )
        page.get_by_role("slider", name="Top-p").fill("1")
        assert "640 of 640 tokens survive" in page.get_by_role("status").inner_text()
        page.get_by_role("button", name="Bet again").click()
        assert page.locator(".bars").is_hidden()
        reveal.click()
        assert f"so far, {8 - kept} of 16" in page.get_by_role("status").inner_text()


def test_exact_numbers_stay_open(visit):
    with visit(name="blank") as page:
        page.mount("Temperature", revealed=True)
        page.get_by_role("button", name="Bet again").click()
        page.get_by_role("button", name="Reveal").click()
        page.locator("summary").click()
        page.get_by_role("slider", name="Min-p").fill("0.5")
        assert page.locator("details[open] tbody tr").count() == 12


def test_another_prompt_is_another_bet(visit):
    with visit(name="blank") as page:
        page.mount("Temperature")
        page.locator(".bet input").first.check()
        page.get_by_role("button", name="Reveal").click()
        page.get_by_role("button", name="a sure thing").click()
        assert page.trait("bet") == []
        assert page.trait("revealed") is False
        page.get_by_role("textbox").fill("xq " * 300)
        assert page.locator(".bet input").count() == 8
        assert not page.complaints


def test_the_picture_shows_what_is_left():
    assert "100.0 %" in Temperature(top_k=1).picture()
    assert Temperature(prompt="").picture().startswith("<svg")
    with pytest.raises(traitlets.TraitError, match="min_p"):
        Temperature(min_p=1.5)
