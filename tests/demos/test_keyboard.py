"""Every control of every demo, reached with Tab and used with a key, changes the picture."""

import pytest

from tutor_lib.demos import AttentionMatrix, Generate, Tokenizer

NAMES = [demo.__name__ for demo in (Tokenizer, AttentionMatrix, Generate)]

FOCUSED = """() => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  if (!alone.el.contains(document.activeElement)) return null;
  const value = Number(node.value), max = Number(node.max);
  return { kind: node.type ?? node.getAttribute("role") ?? node.localName,
    name: (node.labels?.[0] ?? node).textContent.trim() || node.getAttribute("aria-label"),
    pressed: node.getAttribute("aria-pressed") === "true",
    off: node.getAttribute("aria-disabled") === "true",
    atEnd: value >= max };
}"""


def key_for(control: dict) -> str | None:
    """What a hand at the keyboard would press here; None where there is nothing to change."""
    if control["kind"] in ("region", "submit") or control["pressed"] or control["off"]:
        return None
    by_kind = {
        "textarea": "x",
        "range": "ArrowLeft" if control["atEnd"] else "ArrowRight",
        "number": "ArrowUp",
        "radio": "ArrowRight",
        "gridcell": "ArrowLeft",
        "button": "Enter",
        "summary": "Enter",
    }
    return by_kind[control["kind"]]


def tab_to(page, stop: int) -> dict | None:
    page.evaluate("alone.el.tabIndex = -1; alone.el.focus()")
    for _ in range(stop + 1):
        page.keyboard.press("Tab")
    return page.evaluate(FOCUSED)


@pytest.mark.parametrize("name", NAMES)
def test_every_control_by_keyboard(visit, name):
    used = []
    with visit() as page:
        every = use_every_control(page, name, used)
        assert not page.complaints
    print(f"\n{name}: {len(used)} controls")
    # All but those already pressed, and Back at the first step.
    assert len(used) >= every - 3
    assert {kind for kind, _ in used} >= KINDS[name]


def use_every_control(page, name: str, used: list) -> int:
    """Tab to each stop of a fresh demo and press its key. Returns how many controls there are."""
    for stop in range(60):
        page.mount(name)
        control = tab_to(page, stop)
        if control is None:
            break
        key = key_for(control)
        if key is None:
            continue
        if control["kind"] == "number":
            draw_one_and_come_back(page)
        before = page.drawn()
        page.keyboard.press(key)
        page.wait_for_change(before)
        used.append((control["kind"], control["name"]))
    return page.evaluate(CONTROLS)


CONTROLS = """() => { const { shadowRoot } = alone.el.querySelector('.tutor-demo');
  return new Set([...shadowRoot.querySelectorAll('input, textarea, summary, button, .grid')]
    .map((node) => (node.type === 'radio' ? node.name : node))).size; }"""

KINDS = {
    "Tokenizer": {"textarea", "button", "range"},
    "AttentionMatrix": {"textarea", "button", "radio", "gridcell", "summary"},
    "Generate": {"textarea", "button", "range", "number"},
}


def draw_one_and_come_back(page) -> None:
    """A seed shows in what is drawn: draw one token, and return to the seed."""
    for key in ("Tab", "Tab", "Enter", "Shift+Tab", "Shift+Tab"):
        page.keyboard.press(key)


def test_arrows_walk_the_grid(visit):
    """The focus follows, and stays at the edge."""
    with visit(name="blank") as page:
        page.mount("AttentionMatrix", query=2, key=1)
        walk(page)


def walk(page) -> None:
    page.locator("[role=gridcell][aria-selected=true]").focus()
    for key, to in [("ArrowUp", [1, 1]), ("ArrowRight", [1, 2]), ("ArrowDown", [2, 2]),
                    ("Home", [2, 0]), ("ArrowLeft", [2, 0])]:  # fmt: skip
        page.keyboard.press(key)
        assert [page.trait("query"), page.trait("key")] == to
        label = page.locator("[role=gridcell]:focus").get_attribute("aria-label")
        chosen = page.locator("[role=gridcell][aria-selected=true]").get_attribute("aria-label")
        assert label == chosen
