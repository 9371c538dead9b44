"""What a reader gets: every page, from disk and from a server, with no network at all."""

import gzip
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROMISED = 200_000  # bytes of a page, compressed, without the storyteller


def toc_files() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    return [toc["root"], *(c["file"] for part in toc["parts"] for c in part["chapters"])]


CHAPTERS = [f"{name}.html" for name in toc_files()]
PAGES = [*CHAPTERS, "search.html", "genindex.html"]


def settle(page) -> None:
    """Let scripts finish, with all that is folded open."""
    page.evaluate("document.querySelectorAll('details').forEach((d) => (d.open = true))")
    page.evaluate("document.querySelectorAll('.toggle-button-hidden').forEach((b) => b.click())")
    page.wait_for_load_state("networkidle")


def test_the_table_of_contents_is_the_chapters_and_labs_folders():
    files = [*(ROOT / "chapters").rglob("*.md"), *(ROOT / "labs").glob("*/*.ipynb")]
    on_disk = [path.relative_to(ROOT).with_suffix("").as_posix() for path in files]
    assert sorted(toc_files()) == sorted(on_disk)


@pytest.mark.parametrize("path", ["index.html", *PAGES])
@pytest.mark.parametrize("kind", ["disk", "server"])
def test_a_page_asks_for_nothing_outside_and_makes_no_errors(visit, address, kind, path):
    with visit(address(kind), path) as seen:
        if path == "index.html":  # sends the reader on to the first chapter
            seen.page.wait_for_url("**/chapters/intro.html")
        settle(seen.page)
        assert seen.outside == []
        assert seen.errors == []
        assert len(seen.inside) > 5
        assert "font" not in {Path(urlparse(url).path).suffix.lstrip(".") for url in seen.inside}


def weight(folder: Path, home: str, urls: list[str]) -> dict[str, int]:
    """The compressed bytes of each file that a page loads; the trained model is left out."""
    paths = {unquote(urlparse(url).path) for url in urls}
    names = {path.removeprefix(unquote(urlparse(home).path)) for path in paths}
    names -= {"_static/storyteller.js"}
    return {name: len(gzip.compress((folder / name).read_bytes(), mtime=0)) for name in names}


@pytest.mark.parametrize("path", PAGES)
def test_the_weight_of_a_page(visit, address, book, path, capsys):
    home = address("disk")
    with visit(home, path) as seen:
        settle(seen.page)
        sizes = weight(book, home, seen.inside)
    total = sum(sizes.values())
    heaviest = sorted(sizes, key=sizes.__getitem__)[-3:]
    with capsys.disabled():
        print(f"\n{path}: {total:,} bytes compressed, {len(sizes)} files; most in {heaviest}")
    assert path in sizes
    assert total <= PROMISED


def test_the_built_book_holds_no_icon_font_and_no_foreign_script(book):
    names = {path.name for path in book.rglob("*") if path.is_file()}
    assert not [
        n for n in names if re.search(r"fontawesome|fa-\w+-\d+|bootstrap|thebe|require|\.map$", n)
    ]
    for page in book.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"(https?:[^\"]*)", text
        )
        assert loaded == [], page
        assert "MathJax" not in text
        assert "katex" not in text.lower(), page
        assert "math-error" not in text, page


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_accessibility_and_no_sideways_scrolling(visit, address, path, scheme, width):
    from axe_playwright_python.sync_playwright import Axe

    with visit(address("disk"), path, width, scheme) as seen:
        settle(seen.page)
        assert seen.page.evaluate("document.documentElement.dataset.theme") == scheme
        assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
        options = {"resultTypes": ["violations"]}
        found = Axe().run(seen.page, options=options).response["violations"]
        assert seen.outside == []
    bad = [
        f"{v['id']}: {node['target']} {node['failureSummary']}"
        for v in found
        if v["impact"] in ("serious", "critical")
        for node in v["nodes"]
    ]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("kind", ["disk", "server"])
def test_search_finds_a_chapter(visit, address, kind):
    with visit(address(kind), CHAPTERS[0]) as seen:
        seen.page.keyboard.press("Control+k")
        seen.page.keyboard.type("attention")
        seen.page.keyboard.press("Enter")
        hit = seen.page.locator("#search-results a[href*='pipeline/attention']").first
        hit.wait_for(timeout=10_000)
        seen.page.wait_for_load_state("networkidle")  # pages that it quotes
        hit.click()
        seen.page.wait_for_url("**/pipeline/attention.html**")
        assert seen.errors == []


def test_the_colour_mode_is_switched_and_kept(visit, address):
    with visit(address("disk"), CHAPTERS[0]) as seen:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = seen.page.evaluate(ground)
        seen.page.get_by_role("button", name="Colour mode").click()
        assert seen.page.evaluate("document.documentElement.dataset.theme") == "dark"
        dark = seen.page.evaluate(ground)
        assert light != dark
        seen.page.goto(address("disk") + CHAPTERS[1])
        assert seen.page.evaluate(ground) == dark


@pytest.mark.parametrize("width", [360, 1280])
def test_every_icon_is_drawn_and_every_button_has_a_name(visit, address, width):
    with visit(address("disk"), CHAPTERS[0], width) as seen:
        icons = seen.page.evaluate(
            """[...document.querySelectorAll('[class*="fa-"]')].filter((i) => i.checkVisibility())
               .map((i) => ({ name: i.className, mask: getComputedStyle(i).maskImage,
                              width: i.getBoundingClientRect().width }))"""
        )
        assert len(icons) >= 5
        for icon in icons:
            assert icon["mask"].startswith('url("data:image/svg+xml'), icon
            assert icon["width"] > 10, icon
        buttons = seen.page.locator("button:visible, .article-header-buttons a:visible").all()
        assert all(b.get_attribute("aria-label") or b.text_content().strip() for b in buttons)


def test_the_menu_opens_on_a_phone(visit, address):
    with visit(address("disk"), CHAPTERS[0], 360) as seen:
        chapter = seen.page.locator("nav.bd-links a", has_text="Attention").first
        assert not chapter.is_visible()
        seen.page.get_by_role("button", name="Chapters").click()
        chapter.click()
        seen.page.wait_for_url("**/pipeline/attention.html**")


def test_a_page_reads_without_scripts(browser, book):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((book / CHAPTERS[3]).as_uri())
    assert page.locator("math").count() > 0
    assert page.locator("article h1").is_visible()
    assert not page.get_by_role("button", name="Colour mode").is_visible()
    context.close()
