"""The table's rows, their neighbours and sums, in JavaScript and before a reader's eyes."""

import re

import pytest
import torch

from tutor_lib.demos import Embeddings
from tutor_lib.demos.embeddings import SUMS
from tutor_lib.demos.weights import storyteller

ROWS, COLUMNS = 17, 13


@pytest.fixture
def table():
    return torch.randn(ROWS, COLUMNS)


def nearest(code, table, v, count, without=()):
    return code.page.evaluate(
        """([table, columns, v, count, without]) =>
             plain(code.nearest(Float32Array.from(table), columns, v, count, without))""",
        [table.flatten().tolist(), table.size(1), v.tolist(), count, [*without]],
    )


def test_cosine(code):
    a, b = torch.randn(2, COLUMNS)
    expected = torch.nn.functional.cosine_similarity(a, b, dim=0).item()
    assert code("cosine", a.tolist(), b.tolist()) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("without", [(), (3, 11)])
def test_nearest(code, table, without):
    v = torch.randn(COLUMNS)
    expected = torch.nn.functional.cosine_similarity(table, v[None])
    expected[list(without)] = -torch.inf
    top = expected.topk(5)
    found = nearest(code, table, v, 5, without)
    assert [row["id"] for row in found] == top.indices.tolist()
    assert [row["cosine"] for row in found] == pytest.approx(top.values.tolist(), abs=1e-5)


def test_arithmetic(code):
    a, b, c = torch.randn(3, COLUMNS)
    found = code("arithmetic", a.tolist(), b.tolist(), c.tolist())
    assert found == pytest.approx((a - b + c).tolist(), abs=1e-5)


def test_a_row_of_the_table(teller):
    model = storyteller()[0]
    found = teller.evaluate(
        "(id) => plain(code.rowOf(teller.tensors['embedding.weight'], 128, id))", 396
    )
    assert found == pytest.approx(model.embedding.weight[396].tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("word", "token"),
    [("cat", " cat"), (" cat ", " cat"), ('"Zoe"', "Zoe"), ("“ cat”", " cat")],
)
def test_a_word_is_one_token(teller, word, token):
    tokenizer = storyteller()[1]
    found = teller.evaluate("(word) => code.wordId(teller.tokenizer, word)", word)
    assert [found] == tokenizer.encode(token)


@pytest.mark.parametrize("word", ["", "  ", "cats", "elephant", '"Mia said"'])
def test_what_is_not_one_token(teller, word):
    assert teller.evaluate("(word) => code.wordId(teller.tokenizer, word)", word) is None


def test_parse_a_sum(code):
    assert code("parseSum", " a − b + c ") == ["a", "b", "c"]
    assert code("parseSum", 'Zoe - "Zoe" + "Hugo"') == ["Zoe", '"Zoe"', '"Hugo"']
    for wrong in ("", "a", "a + b − c", "a − b", "a − b + c + d", "a − − b + c"):
        assert code("parseSum", wrong) is None


@torch.no_grad()
def answer(sum_: str, keep: bool = False) -> str:
    """What PyTorch finds for a preset."""
    model, tokenizer = storyteller()
    rows = model.embedding.weight
    words = re.fullmatch(r"(.+) − (.+) \+ (.+)", sum_).groups()
    ids = [tokenizer.encode(w.strip('"') if '"' in w else f" {w}")[0] for w in words]
    v = rows[ids[0]] - rows[ids[1]] + rows[ids[2]]
    cosines = torch.nn.functional.cosine_similarity(rows, v[None])
    if not keep:
        cosines[ids] = -1
    return tokenizer.decode([cosines.argmax().item()])


def test_presets_show_a_hit_and_misses():
    found = {name: answer(sum_) for name, sum_ in SUMS.items()}
    assert found["one that works"] == " soft"
    assert found["nearly the same"] == " lonely"  # a feeling: no mat is lonely
    assert found["no relation at all"] == " black"
    assert found["a name without its space"] not in (" Hugo", "Hugo")


@pytest.mark.parametrize("sum_", SUMS.values())
def test_the_sum_as_a_reader_sees_it(visit, sum_):
    with visit(name="blank") as page:
        page.mount("Embeddings", sum=sum_)
        assert not page.locator("section[aria-label='Word arithmetic'] table").is_visible()
        page.get_by_role("button", name="angry").click()
        said = page.locator("section[aria-label='Word arithmetic'] [role=status] b")
        assert said.inner_text() == answer(sum_).replace(" ", "␣")
        page.get_by_role("radio", name="may answer").click()
        assert said.inner_text() == answer(sum_, keep=True).replace(" ", "␣")


def test_one_id_one_row(visit):
    with visit(name="blank") as page:
        page.mount("Embeddings")
        before = page.trait("ids")
        page.get_by_role("spinbutton").fill("7")
        assert page.trait("ids") == [before[0], 7, *before[2:]]
        assert "Rows that changed: 1 of 6." in page.get_by_role("status").first.inner_text()
        page.get_by_role("button", name="The text’s own ids").click()
        assert page.trait("ids") == before


def test_another_text(visit):
    with visit(name="blank") as page:
        page.mount("Embeddings", row=5)
        page.get_by_role("textbox", name="Text").fill("a dog")
        ids = storyteller()[1].encode("a dog")
        assert page.trait("ids") == ids
        assert page.trait("row") == len(ids) - 1
        page.get_by_role("textbox", name="Text").fill("")
        assert "Type a text" in page.get_by_role("status").first.inner_text()
        page.get_by_role("textbox", name="Text").fill("a")
        assert page.trait("ids") == storyteller()[1].encode("a")


def test_every_number_can_be_read(visit):
    row = storyteller()[0].embedding.weight[396]
    with visit(name="blank") as page:
        page.mount("Embeddings", dim=5)
        shown = f"{row[5].item():.4f}".replace("-", "−")
        assert page.get_by_text(f"Its number 5 is {shown}.").is_visible()
        page.get_by_text("All 128 numbers of row 396").click()
        cells = page.get_by_role("region", name="All 128").get_by_role("cell")
        cells.first.wait_for()
        expected = [f"{value:.4f}".replace("-", "−") for value in row.tolist()]
        assert [c for c in cells.all_inner_texts() if "." in c] == expected


def test_the_nearest_to_cat_waits_for_a_bet(visit):
    with visit(name="blank") as page:
        page.mount("Embeddings")
        chart = page.locator("section[aria-label='Nearest neighbours'] table")
        assert not chart.is_visible()
        page.get_by_role("button", name="dog", exact=True).click()
        assert "␣bear" in chart.locator("tbody tr").first.inner_text()
        page.get_by_role("textbox", name="A word").fill("elephant")
        assert not chart.is_visible()
        assert page.get_by_text("It has no row of its own").is_visible()


def test_the_picture_shows_the_rows():
    demo = Embeddings(text="a cat")
    assert demo.ids == storyteller()[1].encode("a cat")
    shown = [int(x) for x in re.findall(r"(\d+)%,var\(--td-paper", demo.picture())]
    rows = storyteller()[0].embedding.weight[demo.ids, :32].flatten()
    assert shown == [round(100 * min(abs(x / 0.6), 1)) for x in rows.tolist()]
    assert "Type a text" in Embeddings(text="").picture()
