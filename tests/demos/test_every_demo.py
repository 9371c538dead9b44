"""What every demo owes its readers, whoever they are: tried for each class in `ALL`."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tutor_lib.demos import ALL

NAMES = [demo.__name__ for demo in ALL]
AXE = {"resultTypes": ["violations"]}
STOPS = 24  # places of the keyboard that are tried in one demo
SLOWER = 4  # the processor of a reader's phone
APPEARS, REACTS = 100, 50  # milliseconds

ROOT = "alone.el.querySelector('.tutor-demo').shadowRoot"
# All that shows: what is drawn, and what the controls hold.
SHOWN = f"""() => {ROOT}.innerHTML + [...{ROOT}.querySelectorAll('input, textarea, select')]
  .map((node) => `${{node.value}} ${{node.checked}}`).join()"""
# The control that has the focus, and the key that a hand at the keyboard would press there.
FOCUSED = """() => {
  let node = document.activeElement;
  while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
  if (!alone.el.contains(document.activeElement)) return null;
  const role = node.getAttribute('role'), kind = role ?? node.type ?? node.localName;
  const keys = { textarea: 'x', text: 'x', number: 'ArrowUp', radio: 'ArrowRight', summary: 'Enter',
    button: 'Enter', submit: 'Enter', checkbox: 'Space', 'select-one': 'ArrowDown',
    range: Number(node.value) >= Number(node.max) ? 'ArrowLeft' : 'ArrowRight' };
  const still = kind === 'region' || node.getAttribute('aria-pressed') === 'true'
    || node.getAttribute('aria-disabled') === 'true';
  const arrows = ['ArrowRight', 'ArrowDown', 'ArrowLeft', 'ArrowUp', 'Enter'];
  const name = node.getAttribute('aria-label') ?? node.labels?.[0]?.textContent ?? node.textContent;
  return { name: name.trim().slice(0, 60), kind,
    keys: still ? [] : role && !keys[role] ? arrows : [keys[kind] ?? 'Enter'] };
}"""
# Use the control of this number as a reader would, and have the page laid out.
REACT = """(number) => {
  const root = alone.el.querySelector('.tutor-demo').shadowRoot;
  const every = [...root.querySelectorAll(`input, textarea, select,
    button:not([aria-disabled=true]), [tabindex="0"]:not([role=region])`)];
  const node = every[number % every.length];
  const say = (type) => node.dispatchEvent(new Event(type, { bubbles: true }));
  if (node.type === 'range' || node.type === 'number') {
    const [low, high] = [Number(node.min || 0), Number(node.max || 10)];
    node.value = low + ((number * 37) % 101) / 100 * (high - low);
    say('input'); say('change');
  } else if (node.localName === 'textarea' || node.type === 'text') {
    node.value = node.value.slice(0, 380) + 'x';
    say('input');
  } else if (node.localName === 'select') {
    node.selectedIndex = number % node.options.length;
    say('input'); say('change');
  } else if (node.localName === 'input' || node.localName === 'button') node.click();
  else {
    node.focus();
    node.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
  }
  root.host.getBoundingClientRect();
  return every.length;
}"""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("width", "theme"), [(360, "dark"), (1280, "light")])
def test_it_is_for_every_reader(visit, name, width, theme):
    """Axe finds nothing serious, nothing is asked from outside, no page scrolls sideways."""
    with visit(name=name, width=width, theme=theme) as page:
        page.ready(name)
        found = Axe().run(page.page, options=AXE).response["violations"]
        serious = [v for v in found if v["impact"] in ("serious", "critical")]
        assert not serious, [(v["id"], v["nodes"][0]["html"][:300]) for v in serious]
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert all(url.startswith(("file:", "data:", "blob:")) for url in page.requests)
        assert not page.complaints


@pytest.mark.parametrize("name", NAMES)
def test_it_asks_before_it_shows(visit, name):
    with visit(name="blank") as page:
        page.mount(name)
        assert page.evaluate(f"{ROOT}.querySelector('.predict')?.textContent.length") > 20


@pytest.mark.parametrize("name", NAMES)
def test_without_javascript_there_is_a_picture(visit, name):
    with visit(name=name, java_script_enabled=False) as page:
        box = page.locator(f"[data-tutor-demo={name}] svg[role=img]").first.bounding_box()
        assert box["width"] >= 200
        assert box["height"] >= 40


@pytest.mark.parametrize("name", NAMES)
def test_taken_away_it_leaves_nothing(visit, name):
    with visit(name="blank") as page:
        page.mount(name)
        left = page.evaluate(
            """() => { alone.remove(); return [...alone.model.listeners.values()]
                 .reduce((sum, set) => sum + set.size, alone.el.childElementCount); }"""
        )
        assert left == 0
        assert not page.complaints


@pytest.mark.parametrize("name", NAMES)
def test_the_keyboard_reaches_and_moves_every_control(visit, name):
    """Each stop of the tabulator does something that shows, by a key that one would try there."""
    used = 0
    with visit(name="blank") as page:
        for stop in range(STOPS):
            page.mount(name)
            control = tab_to(page, stop)
            if control is None:
                break
            assert control["name"], control
            if control["keys"]:
                assert any(changes(page, key) for key in control["keys"]), control
                used += 1
        assert not page.complaints
    assert used >= 1


def tab_to(page, stop: int) -> dict | None:
    page.evaluate("alone.el.tabIndex = -1; alone.el.focus()")
    for _ in range(stop + 1):
        page.keyboard.press("Tab")
    return page.evaluate(FOCUSED)


def changes(page, key: str) -> bool:
    before = page.evaluate(SHOWN)
    page.keyboard.press(key)
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    return page.evaluate(SHOWN) != before


@pytest.mark.parametrize("name", NAMES)
def test_it_appears_and_reacts(visit, name):
    """Within four times the lines that `make bench` draws, so that no busy machine fails it."""
    appears, reacts = times(visit, name, rounds=2)
    assert appears < 4 * APPEARS
    assert reacts < 4 * REACTS


@pytest.mark.bench
@pytest.mark.parametrize("name", NAMES)
def test_it_appears_and_reacts_at_once(visit, name):
    """First paint, and the reaction to 98 of 100 inputs where the processor is a phone's."""
    appears, reacts = times(visit, name, rounds=3)
    print(f"\n{name}: appears in {appears:.0f} ms (line {APPEARS}), reacts in {reacts:.0f} "
          f"(line {REACTS})")  # fmt: skip
    assert appears < APPEARS
    assert reacts < REACTS


def times(visit, name: str, rounds: int) -> tuple[float, float]:
    """Milliseconds of processor time, the best of some rounds: to appear, and to react."""
    with visit(name="blank") as page:
        page.mount(name)
        devtools = page.context.new_cdp_session(page.page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

        def busy(action) -> float:
            before = task_time(devtools)
            action()
            return 1000 * (task_time(devtools) - before)

        appears = min(busy(lambda: page.mount(name)) for _ in range(rounds))
        count = page.evaluate(REACT, 0)
        inputs = range(min(2 * count, 50))
        found = [[busy(lambda n=n: page.evaluate(REACT, n)) for n in inputs] for _ in range(rounds)]
        reactions = sorted(SLOWER * min(times) for times in zip(*found, strict=True))
        assert not page.complaints
    return appears, reactions[int(0.98 * (len(reactions) - 1))]


def task_time(devtools) -> float:
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "TaskDuration")
