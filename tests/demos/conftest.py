"""The demos' own code in a real browser, and small pages that hold them."""

import contextlib
import functools
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.served import served as on_a_server
from tutor_lib.demos import ALL, AttentionMatrix, Demo, Generate, Tokenizer
from tutor_lib.demos.weights import storyteller_script

BY_NAME = {demo.__name__: demo for demo in ALL}
DEMOS = (Tokenizer, AttentionMatrix, Generate)  # what the page of the first tests holds

# Typed arrays and sets travel as lists.
PLAIN = """
globalThis.plain = (value) =>
  ArrayBuffer.isView(value) || Array.isArray(value) ? Array.from(value, plain)
  : value && typeof value === "object"
    ? Object.fromEntries(Object.entries(value).map(([name, x]) => [name, plain(x)]))
  : value;
"""


def data_url(module: str) -> str:
    return "data:text/javascript;charset=utf-8," + quote(module)


def load_code(page, demos=ALL) -> None:
    """Put every exported function of the kit and these demos into the global `code`."""
    kit = ALL[0]._esm.split('from "', 1)[1].split('"', 1)[0]
    imports = "".join(
        f'import * as {demo.__name__} from "{data_url(demo._esm)}";\n' for demo in demos
    )
    names = ", ".join(demo.__name__ for demo in demos)
    page.add_script_tag(
        type="module",
        content=f'{imports}import * as kit from "{kit}";\n{PLAIN}'
        f"globalThis.demos = {{ {names} }};\n"
        "globalThis.code = Object.assign({}, kit, ...Object.values(demos));",
    )
    page.wait_for_function("globalThis.demos")


@pytest.fixture(scope="session")
def code(browser):
    """Call a JavaScript function by its name: `code("softmax", [1, 2, 3])`."""
    page = browser.new_page()
    page.goto("about:blank")
    load_code(page)

    def call(name: str, *arguments):
        return page.evaluate(
            "([name, arguments]) => plain(code[name](...arguments))", [name, list(arguments)]
        )

    call.page = page
    yield call
    page.close()


@pytest.fixture(scope="session")
def teller(code):
    """The page of `code`, with the storyteller loaded as the global `teller`."""
    code.page.evaluate(storyteller_script())
    code.page.evaluate(
        """() => {
          const { weights, ...data } = tutorStoryteller;
          const bytes = code.decodeBase64(weights);
          globalThis.teller = new code.Storyteller({ ...data, weights: bytes });
        }"""
    )
    return code.page


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A page with the three demos, as a book holds them, and the storyteller's script."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "_static").mkdir()
    (folder / "_static" / "storyteller.js").write_text(storyteller_script(), encoding="utf-8")
    colours = Path(__file__).parents[2] / "tutor_lib" / "book" / "static" / "colours.css"
    style = colours.read_text(encoding="utf-8") if colours.exists() else ""
    style += "body { background: var(--tutor-paper); color: var(--tutor-ink); margin: 12px }"
    demos = "\n".join(demo()._repr_mimebundle_()[0]["text/html"] for demo in DEMOS)
    pages = [("page", demos), ("blank", ""), *((d.__name__, d().html()) for d in ALL)]
    for name, body in pages:
        rules = style if body else style + Demo._css  # a demo brings its colours along
        (folder / f"{name}.html").write_text(
            f'<!doctype html><html lang="en" data-content_root="./" data-theme="light"><head>'
            f'<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
            f'<link rel="icon" href="data:,"><title>Demos</title><style>{rules}</style></head>'
            f"<body><main><h1>Demos</h1>{body}</main></body></html>",
            encoding="utf-8",
        )
    return folder


@pytest.fixture(scope="session")
def served(folder):
    """The address of the folder on a local server."""

    with on_a_server(folder) as address:
        yield address


ALONE = """async ([name, state]) => {
  globalThis.alone?.remove();
  const el = document.createElement('div');
  document.querySelector('main').replaceChildren(el);
  const model = new code.PageModel(state);
  const drawn = new Promise((resolve) => el.addEventListener('tutor-ready', resolve));
  globalThis.alone = { model, el, remove: demos[name].default.render({ model, el }) };
  await drawn;
}"""


@functools.cache
def first_state(name: str) -> dict:
    """What a page holds of the demo `name` before anybody has touched it."""
    return BY_NAME[name]()._page_state()


# Everything to be seen but the controls themselves.
DRAWN = """() => [...alone.el.querySelector('.tutor-demo').shadowRoot.querySelectorAll(
  '.counts, .pieces, .merges, .grid, .steps, .story, .bars, [role=status]')]
  .map((node) => node.outerHTML).join('')"""


class DemoPage:
    """A page of Playwright's, and what a test of the demos wants of it besides.

    `requests` lists what the page asked for, `complaints` what its console said.
    """

    def __init__(self, page) -> None:
        self.page, self.requests, self.complaints = page, [], []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._hear)

    def __getattr__(self, name: str):
        return getattr(self.page, name)

    def _hear(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def ready(self, name: str) -> None:
        """Scroll to a demo and wait until it has drawn."""
        self.page.locator(f"[data-tutor-demo={name}]").scroll_into_view_if_needed()
        self.page.wait_for_selector(f"[data-tutor-demo={name}][data-mounted=ready]")

    def mount(self, name: str, **changes) -> None:
        """Show one demo by itself, with a model to look into: the global `alone`."""
        if self.page.evaluate("!globalThis.demos"):
            load_code(self.page, [BY_NAME[name]])
        self.page.evaluate(ALONE, [name, {**first_state(name), **changes}])

    def drawn(self) -> str:
        """All that the mounted demo shows."""
        return self.page.evaluate(DRAWN)

    def wait_for_change(self, before: str) -> None:
        """Wait until the mounted demo shows something else."""
        self.page.wait_for_function(f"(before) => ({DRAWN})() !== before", arg=before, timeout=5000)

    def trait(self, name: str):
        """The value that the mounted demo's model holds."""
        return self.page.evaluate("(name) => alone.model.get(name)", name)


@pytest.fixture
def visit(browser, folder):
    """Open the page of the demos: `with visit(width=360) as page`. Nothing else can be reached."""

    @contextlib.contextmanager
    def open_page(
        base: str = folder.as_uri(),
        *,
        name="page",
        width=1280,
        height=900,
        theme="light",
        **settings,
    ):
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        near = (base, "data:", "blob:")
        context.route(lambda url: not url.startswith(near), lambda route: route.abort())
        page = DemoPage(context.new_page())
        page.goto(f"{base}/{name}.html")
        if settings.get("java_script_enabled", True):
            page.evaluate("(theme) => { document.documentElement.dataset.theme = theme }", theme)
        yield page
        context.close()

    return open_page
