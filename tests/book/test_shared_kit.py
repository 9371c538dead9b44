"""A page of several demos holds their kit once, and they still work from disk."""

from tutor_lib.demos import ALL
from tutor_lib.demos.bundle import kit_url
from tutor_lib.demos.demo import FOLDER

TWO = ALL[:2]


def test_a_page_with_two_demos_holds_one_kit(build, browser):
    raw = "\n\n".join(f"```{{raw}} html\n{demo().html()}\n```" for demo in TWO)
    built = build(f"# Two demos\n\n{raw}\n")
    assert built.html.count(kit_url(FOLDER / "kit.js")) == 1
    assert built.html.index('type="importmap"') < built.html.index('type="module"')
    assert built.html.count(".tutor-demo {") == TWO[0]().html().count(".tutor-demo {")
    page = browser.new_page()
    page.goto((built.folder / "html" / "index.html").as_uri())
    for demo in TWO:
        place = page.locator(f"[data-tutor-demo={demo.__name__}]")
        place.scroll_into_view_if_needed()
        place.locator(".demo .predict").wait_for()
    page.close()


def test_a_page_without_a_demo_has_no_map(build):
    assert "importmap" not in build("# None\n").html
