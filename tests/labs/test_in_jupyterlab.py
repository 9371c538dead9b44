"""A student's evening: open the lab, be wrong, read why, put it right, validate."""

import shutil

import pytest

WRONG = """def attention_scores(q, k):
    return q @ k.transpose(-2, -1)
"""


@pytest.fixture(scope="module")
def page(jupyterlab, browser, root):
    shutil.copytree(root / "labs", jupyterlab.folder / "labs")
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    jupyterlab.open(page, "labs/attention/attention.ipynb")
    yield page
    page.close()


@pytest.fixture(scope="module")
def cells(course):
    """Where each cell stands, by its id."""
    return {cell.id: i for i, cell in enumerate(course.release.cells)}


def test_hints_unfold(page):
    hint = page.locator("details", has_text="the line of algebra").first
    hint.scroll_into_view_if_needed()
    assert not hint.locator("mjx-container").first.is_visible()
    hint.locator("summary").click()
    hint.locator("mjx-container").first.wait_for(state="visible")


def test_wrong_then_hint_then_right(page, jupyterlab, cells, course):
    jupyterlab.run(page, cells["setup"])
    jupyterlab.run(page, cells["attention_scores"])
    assert "not written yet" in jupyterlab.run(page, cells["attention_scores_check"])

    jupyterlab.write(page, cells["attention_scores"], WRONG)
    jupyterlab.run(page, cells["attention_scores"])
    told = jupyterlab.run(page, cells["attention_scores_check"])
    assert told.startswith("✗ attention_scores: not yet.")
    assert "Your scores equal what you get without dividing by √D." in told
    assert "Traceback" not in told

    jupyterlab.write(page, cells["attention_scores"], course.answers()["attention_scores"])
    jupyterlab.run(page, cells["attention_scores"])
    told = jupyterlab.run(page, cells["attention_scores_check"])
    assert told.startswith("✓ attention_scores: right, 2 points.")
    assert "2 of 12 points so far." in told


def test_the_validate_button_tells_what_is_left(page):
    # The button saves by itself; saving here too makes JupyterLab ask which of the two to keep.
    page.locator(".jp-NotebookPanel-toolbar").get_by_text("Validate", exact=True).click()
    panel = page.locator(".jp-Dialog", has_text="Validation Results")
    panel.wait_for(timeout=60_000)
    told = panel.inner_text()
    assert 'check("softmax", softmax)' in told
    assert "✗ softmax: not yet." in told
    assert 'check("attention_scores", attention_scores)' not in told
    panel.get_by_role("button", name="Ok").click()
