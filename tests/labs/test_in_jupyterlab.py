"""A student's evening: open a lab, be wrong, read why, put it right, validate."""

import shutil

import pytest

from tests.cells import cell
from tests.labs_there import NAMES, lab_of


@pytest.fixture(scope="module")
def labs(jupyterlab, root):
    """JupyterLab with the released labs in its folder."""
    shutil.copytree(root / "labs", jupyterlab.folder / "labs")
    return jupyterlab


@pytest.fixture
def page(browser, labs):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    yield page
    page.close()


def places(course):
    """Where each cell stands, by its id."""
    return {cell.id: i for i, cell in enumerate(course.release.cells)}


def setup_cells(course):
    """The cells before the first answer."""
    cells = course.release.cells
    answer = next(i for i, c in enumerate(cells) if c.metadata.get("nbgrader", {}).get("solution"))
    return [i for i, c in enumerate(cells[:answer]) if c.cell_type == "code"]


@pytest.mark.parametrize("lab", NAMES)
def test_wrong_then_hint_then_right(page, labs, course_of, lab):
    course, checks = course_of(lab), lab_of(lab)
    exercise = next(iter(checks.exercises.values()))
    part, mistake = exercise.parts[0], exercise.misconceptions[0]
    at, answer, check = places(course), exercise.name, f"{exercise.parts[0].name}_check"
    labs.open(page, f"labs/{lab}/{lab}.ipynb")
    for number in setup_cells(course):
        labs.run(page, number)
    labs.run(page, at[answer])
    assert "not written yet" in labs.run(page, at[check])

    labs.write(page, at[answer], cell(mistake.wrong, answer, exercise.lent))
    labs.run(page, at[answer])
    told = labs.run(page, at[check])
    assert told.startswith(f"✗ {part.name}: not yet.")
    assert mistake.hint in " ".join(told.split())
    assert "Traceback" not in told

    labs.write(page, at[answer], course.answers()[answer])
    labs.run(page, at[answer])
    told = labs.run(page, at[check])
    assert told.startswith(f"✓ {part.name}: right, {part.points} point")
    total = sum(p.points for p in checks.parts.values())
    assert f"{part.points} of {total} points so far" in told


def test_hints_unfold(page, labs):
    labs.open(page, "labs/attention/attention.ipynb")
    hint = page.locator("details", has_text="the line of algebra").first
    hint.scroll_into_view_if_needed()
    assert not hint.locator("mjx-container").first.is_visible()
    hint.locator("summary").click()
    hint.locator("mjx-container").first.wait_for(state="visible")


def test_the_validate_button_tells_what_is_left(page, labs, course_of):
    course = course_of("attention")
    at, exercise = places(course), lab_of("attention").exercises["causal_mask"]
    labs.open(page, "labs/attention/attention.ipynb")
    labs.write(page, at["causal_mask"], course.answers()["causal_mask"])
    # The button saves by itself; saving here too makes JupyterLab ask which of the two to keep.
    page.locator(".jp-NotebookPanel-toolbar").get_by_text("Validate", exact=True).click()
    panel = page.locator(".jp-Dialog", has_text="Validation Results")
    panel.wait_for(timeout=90_000)
    told = panel.inner_text()
    assert 'check("attention_scores", attention_scores)' in told
    assert "✗ attention_scores: not yet." in told
    assert f'check("{exercise.parts[0].name}", causal_mask)' not in told
    panel.get_by_role("button", name="Ok").click()
