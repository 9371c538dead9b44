"""Mask: its arithmetic against PyTorch, and what the reader finds out."""

import re

import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from torch.nn import functional as F

from tutor_lib.attention.core import causal_mask
from tutor_lib.demos import Mask
from tutor_lib.demos.weights import storyteller
from tutor_lib.inside.trace import attention_weights, values_of

T, D = 7, 5


def close(found, expected, tolerance=1e-5):
    found = torch.tensor(found, dtype=torch.float64)
    torch.testing.assert_close(found, expected.double(), atol=tolerance, rtol=tolerance)


def test_scores(code):
    q, k = torch.randn(2, T, D)
    close(code("allScores", {"q": q.tolist(), "k": k.tolist()}), q @ k.T / D**0.5)


def test_masked_before(code):
    q, k = torch.randn(2, T, D)
    found = code("maskedBefore", (q @ k.T / D**0.5).tolist())
    # With the identity as values, attention gives back its weights.
    expected = F.scaled_dot_product_attention(q[None], k[None], torch.eye(T)[None], is_causal=True)
    close(found, expected[0])


def test_masked_after_and_divided(code):
    scores = 3 * torch.randn(T, T)
    wrong = scores.softmax(dim=-1) * causal_mask(T)
    close(code("maskedAfter", scores.tolist()), wrong)
    close([code("sumOf", row) for row in wrong.tolist()], wrong.sum(dim=-1))
    close(code("divided", wrong.tolist()), F.normalize(wrong, p=1, dim=-1))


def tables(page) -> list[list[list[float]]]:
    """The numbers of each matrix, row by row."""
    return [
        [
            [float(x.replace("−", "-")) for x in row.locator("td").all_inner_texts()]
            for row in table.locator("tbody tr").all()
        ]
        for table in page.locator(".matrix:visible").all()
    ]


def real(demo: Mask) -> tuple[torch.Tensor, torch.Tensor]:
    model, tokenizer = storyteller()
    ids, at = torch.tensor([tokenizer.encode(demo.text)]), f"blocks.{demo.layer}.attention"
    found = values_of(model, ids, [f"{at}.q", f"{at}.k"])
    q, k = found[f"{at}.q"][0, demo.head], found[f"{at}.k"][0, demo.head // 2]
    return q @ k.T / q.size(-1) ** 0.5, attention_weights(model, ids)[demo.layer, 0, demo.head]


def test_the_tables_hold_the_models_own_numbers(visit):
    scores, weights = real(Mask())
    wrong = scores.softmax(dim=-1) * causal_mask(len(scores))
    with visit(name="blank") as page:
        page.mount("Mask")
        [shown] = tables(page)
        close(shown, scores, 0.06)
        page.get_by_role("button", name="The first").click()
        _, right, after = tables(page)
        close([row[:-1] for row in right], weights, 0.006)
        assert all(row[-1] == 1 for row in right)
        close([row[:-1] for row in after], wrong, 0.006)
        close([row[-1] for row in after], wrong.sum(dim=-1), 0.006)
        assert after[-1][-1] == 1
        status = page.locator("[role=status]")
        assert status.inner_text().startswith("Not so.")
        page.get_by_role("button", name="The last").click()
        assert status.inner_text().startswith("Well predicted.")
        page.get_by_label("÷ their sum").check()
        _, right, after = tables(page)
        assert right == after


def test_one_row_in_exact_numbers(visit):
    scores, weights = real(Mask())
    with visit(name="blank") as page:
        page.mount("Mask", bet=2)
        for t in range(len(scores)):
            page.locator(".token-row input").nth(t).check()
            rows = [r.split("\t") for r in page.locator(".row tbody tr").all_inner_texts()]
            numbers = [[float(x.replace("−", "-")) for x in row[1:]] for row in rows[:-1]]
            close([row[0] for row in numbers], scores[t], 2e-3)
            close([row[1] for row in numbers], scores[t].softmax(dim=-1), 1e-3)
            close([row[2] for row in numbers], weights[t], 1e-3)
            assert rows[-1][0] == "sum"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_tables_can_be_read(visit, theme):
    """Also after the bet, where most of it is to be seen."""
    with visit(name="blank", theme=theme) as page:
        page.mount("Mask", bet=1, head=0)
        found = Axe().run(page.page, options={"resultTypes": ["violations"]}).response
        serious = [v["id"] for v in found["violations"] if v["impact"] in ("serious", "critical")]
        assert not serious, found["violations"]


def test_a_long_text_is_cut_and_an_empty_one_waits(visit):
    with visit(name="blank") as page:
        page.mount("Mask", bet=1, query=7, text="The cat sat on the mat because it was tired")
        assert page.get_by_text("The first 7 are shown").is_visible()
        page.get_by_label("Your text").fill("")
        assert not page.locator(".grids").is_visible()
        page.get_by_label("Your text").fill("a cat")
        assert len(tables(page)[0]) == 2
        assert page.trait("query") == 0
        assert not page.complaints


def test_the_picture_shows_the_models_weights():
    _, weights = real(Mask())
    shown = [float(x) for x in re.findall(r">(\d\.\d\d)<", Mask().picture())]
    rows, columns = torch.tril_indices(*weights.shape)
    assert shown == [round(w, 2) for w in weights[rows, columns].tolist()]
