"""The demos in a running JupyterLab, with Python listening."""

import ast

import nbformat
import pytest

from tests.demos.test_every_demo import REACT
from tutor_lib.demos import ALL

CELLS = [
    "from tutor_lib.demos import *\ntokenizer = Tokenizer()\ntokenizer",
    "matrix = AttentionMatrix()\nmatrix",
    "generate = Generate()\ngenerate",
    "tokenizer.text, len(tokenizer.ids), matrix.layer, generate.temperature, generate.text",
]


@pytest.fixture
def page(browser, jupyterlab):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, jupyterlab.folder / "demos.ipynb")
    # High enough for all: JupyterLab takes away what is scrolled out of sight.
    page = browser.new_page(viewport={"width": 1280, "height": 4000})
    jupyterlab.open(page, "demos.ipynb")
    yield page
    page.close()


def test_three_demos_reach_python(page, jupyterlab):
    """Each draws with the storyteller that Python sends; a control moved there is a trait here."""
    shown = page.locator(".jp-OutputArea")
    for cell, sign in enumerate([".counts", ".grid", ".story"]):
        jupyterlab.run(page, cell)
        # The next click must not fall where this demo pushes the cells down.
        shown.nth(cell).locator(sign).wait_for()
    assert page.locator(".tutor-picture").count() == 0

    shown.nth(0).get_by_role("textbox", name="Your text").fill("dd a cat")
    shown.nth(1).get_by_role("radio", name="Layer 1, head 0").click()
    temperature = shown.nth(2).get_by_role("slider", name="Temperature")
    temperature.focus()
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    shown.nth(2).get_by_role("button", name="Sample one").click()

    told = jupyterlab.run(page, 3)
    text, ids, layer, heat, story = eval(told.split("]:", 1)[-1].strip())
    assert (text, layer, heat) == ("dd a cat", 1, 0.8)
    assert ids == int(shown.nth(0).locator(".counts b").nth(2).text_content())
    assert len(story) > len("The cat sat on the mat because it was tired, so the")


def test_python_moves_the_demo_and_keys_stay_in_it(page, jupyterlab):
    """Letters typed into a demo are no shortcuts: "dd" would delete the cell."""
    jupyterlab.run(page, 0)
    box = page.locator(".jp-OutputArea").nth(0).get_by_role("textbox", name="Your text")
    box.wait_for()
    jupyterlab.write(page, 3, "tokenizer.text = 'from Python'")
    jupyterlab.run(page, 3)
    page.wait_for_function("(node) => node.value === 'from Python'", arg=box.element_handle())
    cells = page.locator(".jp-Cell").count()
    answer = "follow(tokenizer, lambda demo: f'heard {demo.text}')"
    jupyterlab.write(page, 2, f"from tutor_lib.demos.follow import follow\n{answer}")
    assert "heard from Python" in jupyterlab.run(page, 2)
    box.fill("a reader")
    page.locator(".jp-OutputArea", has_text="heard a reader").wait_for()
    word = page.locator(".jp-OutputArea").nth(0).locator("button.word").first
    word.focus()
    for key in "ddaxb":
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == cells


# The demo in the first cell's output, as the tests of every demo know it.
DRAWN = """() => {
  const node = document.querySelector('.jp-OutputArea .tutor-demo');
  globalThis.alone = node && { el: node.parentNode };
  return node?.shadowRoot?.querySelector('.predict') && !document.querySelector('.tutor-picture');
}"""
CHANGED = "[name for name, value in demo.get_state().items() if value != before[name]]"


def test_every_demo_draws_and_reaches_python(page, jupyterlab):
    """Each of its controls is used, as a reader would; at least one is a trait in Python too."""
    deaf = []
    for demo in ALL:
        show = f"demo = {demo.__name__}(); before = demo.get_state(); demo"
        jupyterlab.write(page, 0, f"from tutor_lib.demos import *\n{show}")
        jupyterlab.run(page, 0)
        page.wait_for_function(DRAWN)
        for number in range(page.evaluate(REACT, 0)):
            page.evaluate(REACT, number)
        jupyterlab.write(page, 3, CHANGED)
        if not ast.literal_eval(jupyterlab.run(page, 3).split("]:", 1)[-1].strip()):
            deaf.append(demo.__name__)
    assert deaf == ["Quiz"]  # its answers stay in the browser
