"""A lab as a page of the book: its notebook to download, its hints folded, its links sound."""

import re
from pathlib import Path
from urllib.parse import urljoin

import pytest

from tutor_lib.grading.intake.canon import labs_of

ROOT = Path(__file__).resolve().parents[2]
LABS = labs_of(ROOT)


def page_of(lab: str) -> str:
    return f"labs/{lab}/{lab}.html"


def notebook(lab: str) -> bytes:
    return (ROOT / "labs" / lab / f"{lab}.ipynb").read_bytes()


@pytest.mark.parametrize("lab", LABS)
@pytest.mark.parametrize("kind", ["disk", "server"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_notebook_is_downloaded_as_it_is(visit, address, lab, kind, width):
    with visit(address(kind), page_of(lab), width) as seen:
        link = seen.page.get_by_role("link", name=f"Download {lab}.ipynb")
        assert link.bounding_box()["y"] < 400, "it stands at the top"
        with seen.page.expect_download() as download:
            link.click()
        assert download.value.suggested_filename == f"{lab}.ipynb"
        assert Path(download.value.path()).read_bytes() == notebook(lab)
        assert seen.outside == []


@pytest.mark.parametrize("lab", LABS)
def test_no_link_opens_the_notebook_as_text(book, lab):
    """The button for a page's source did so, on a page read from disk."""
    links = re.findall(r'href="([^"]*\.ipynb)"', (book / page_of(lab)).read_text())
    assert links == []


@pytest.mark.parametrize("lab", LABS)
def test_the_built_book_holds_the_notebook(book, lab):
    assert (book / "_sources" / "labs" / lab / f"{lab}.ipynb").read_bytes() == notebook(lab)


@pytest.mark.parametrize("lab", LABS)
def test_hints_are_folded_and_their_formulas_are_there(visit, address, lab):
    with visit(address("disk"), page_of(lab)) as seen:
        hints = seen.page.locator("article details", has_text="Hint")
        assert hints.count() >= 3 * 5
        assert hints.count() % 3 == 0
        with_formula = hints.filter(has=seen.page.locator("math[display=block]"))
        assert with_formula.count() > 0
        hint = with_formula.first
        formula = hint.locator("math").first
        assert not formula.is_visible()
        hint.locator("summary").focus()
        seen.page.keyboard.press("Enter")
        assert formula.is_visible()
        assert formula.bounding_box()["height"] > 10
        assert "$" not in hint.inner_text()


@pytest.mark.parametrize("lab", LABS)
def test_the_page_is_not_run(book, lab):
    """A lab that is run shows nothing but errors."""
    text = (book / page_of(lab)).read_text()
    assert text.count('class="cell_input') > 5
    assert "cell_output" not in text
    assert not list((book.parent / "jupyter_execute" / "labs").rglob(f"{lab}*.svg"))


@pytest.mark.parametrize("lab", LABS)
def test_its_links_lead_to_pages_of_the_book(book, lab):
    text = (book / page_of(lab)).read_text()
    article = text[text.index("<article") : text.index("</article>")]
    page = (book / page_of(lab)).as_uri()
    for link in re.findall(r'href="(?!data:|#)([^"]+)"', article):
        target, _, anchor = urljoin(page, link).removeprefix(book.as_uri() + "/").partition("#")
        assert (book / target).is_file(), link
        assert not anchor or f'id="{anchor}"' in (book / target).read_text(), link
