"""Similarity: its arithmetic against PyTorch, and a reader's bet."""

import pytest
import torch
from torch.nn import functional as F

from tutor_lib.demos import Similarity
from tutor_lib.demos.weights import storyteller
from tutor_lib.inside.trace import values_of

N, D = 11, 7
ROW = ".scores tbody tr:nth-child({}) "
ROOT = "alone.el.querySelector('.tutor-demo').shadowRoot"


@pytest.fixture
def vectors():
    return torch.randn(3, N, D)


def close(found, expected):
    found = torch.tensor(found, dtype=torch.float64)
    torch.testing.assert_close(found, expected.double(), atol=1e-5, rtol=1e-5)


def test_similarities(code, vectors):
    a = vectors[0]
    found = code("similarities", a.tolist(), 3)
    close(found["dots"], a @ a[3])
    close(found["cosines"], F.cosine_similarity(a, a[3:4]))


def test_query_scores(code, vectors):
    q, k, _ = vectors
    found = code("queryScores", {"q": q.tolist(), "k": k.tolist()}, 5)
    close(found["dots"], k @ q[5])
    close(found["scaled"], k @ q[5] / D**0.5)


def test_term_products_sum_to_the_dot_product(code, vectors):
    a, b, _ = vectors
    found = code("termProducts", a[0].tolist(), b[0].tolist())
    close(found, a[0] * b[0])
    close(sum(found), torch.dot(a[0], b[0]))


def test_the_largest_of_those_that_may(code):
    call = "([values, may]) => code.largestOf(values, (s) => may.includes(s))"
    assert code.page.evaluate(call, [[3, 9, 5, 5], [0, 2, 3]]) == 2
    assert code.page.evaluate(call, [[-3, -9], [1]]) == 1
    assert code.page.evaluate(call, [[1, 2], []]) == -1


@torch.no_grad()
def test_a_bet_reveals_real_dot_products(visit):
    model, tokenizer = storyteller()
    ids = tokenizer.encode(Similarity().text)
    vectors = model.embedding.weight[ids]
    dots = vectors @ vectors[1]
    dots_of_others = dots.masked_fill(torch.tensor(ids) == ids[1], -torch.inf)
    best = dots_of_others.argmax().item()
    with visit(name="blank") as page:
        page.mount("Similarity")
        numbers = page.locator(".scores tbody td.number")
        assert set(numbers.all_inner_texts()) == {"?"}
        page.locator(ROW.format(2) + "button").dispatch_event("click")  # the token itself is no bet
        assert set(numbers.all_inner_texts()) == {"?"}
        page.locator(ROW.format(best + 1) + "button").click()
        shown = [text.replace("−", "-") for text in numbers.all_inner_texts()][::2]
        assert [float(x) for x in shown] == pytest.approx(dots.tolist(), abs=6e-4)
        assert "Well predicted" in page.locator("[role=status]").inner_text()
        assert page.evaluate(f"{ROOT}.activeElement.getAttribute('aria-pressed')") == "true"
        page.get_by_role("button", name="Hide, and bet again").click()
        assert set(numbers.all_inner_texts()) == {"?"}
        page.locator(ROW.format(1) + "button").click()
        assert "You said “The”" in page.locator("[role=status]").inner_text()


def test_queries_and_keys_are_those_of_the_model(visit):
    model, tokenizer = storyteller()
    ids = tokenizer.encode(Similarity().text)
    at = "blocks.2.attention"
    found = values_of(model, torch.tensor([ids]), [f"{at}.q", f"{at}.k"])
    q, k = found[f"{at}.q"][0, 3], found[f"{at}.k"][0, 1]  # head 3 shares key head 1
    expected = (k @ q[4]).tolist()
    with visit(name="blank") as page:
        page.mount("Similarity", measure=1, layer=2, head=3, token=4, other=0)
        shown = page.locator(".scores tbody td.number").all_inner_texts()[::2]
        assert [float(x.replace("−", "-")) for x in shown] == pytest.approx(expected, abs=2e-3)
        later = page.locator(".scores tbody tr.muted").count()
        assert later == len(ids) - 5
        back = page.locator(".terms .note").inner_text()
        assert f"{(k[4] @ q[0]).item():.2f}".replace("-", "−") in back


def test_another_text_asks_again(visit):
    with visit(name="blank") as page:
        page.mount("Similarity", other=4, token=9)
        page.get_by_label("Text").fill("Hi")
        assert page.trait("other") == -1
        assert page.trait("token") < 9
        page.get_by_label("Text").fill("")
        assert "Type a text" in page.locator("[role=status]").inner_text()
        page.get_by_label("Text").fill("The cat")
        assert page.locator(".scores tbody tr").count() == 2
        assert not page.complaints


def test_the_picture_shows_real_dot_products():
    demo, (model, tokenizer) = Similarity(token=0), storyteller()
    vectors = model.embedding.weight[tokenizer.encode(demo.text)].detach()
    for value in (vectors @ vectors[0]).tolist():
        assert f">{value:.3f}<" in demo.picture()
