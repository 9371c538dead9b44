"""An instructor's morning: formgrader lists the labs; an answer is read, and gets its points."""

import os
import runpy
import shutil
import subprocess
import sys

import nbformat
import pytest
from nbgrader.api import Gradebook

from tutor_lib.grading import build
from tutor_lib.grading.intake.canon import labs_of

LAB = "attention"
ANSWER = "Without it, 1009 softmaxes saturate, and their gradients vanish."
POINTS = 1.5


def written_question(notebook):
    """The cell that a person grades."""
    graded = [c for c in notebook.cells if c.metadata.get("nbgrader", {}).get("grade")]
    return next(c for c in graded if c.metadata.nbgrader.solution)


@pytest.fixture(scope="module")
def course(tmp_path_factory, root):
    """A course with every lab released and one submission, which answers the question only."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copytree(root / "solutions", folder / "solutions")
    shutil.copy(root / "nbgrader_config.py", folder)
    assert build.main(["--course", str(folder)]) == 0
    notebook = nbformat.read(folder / "labs" / LAB / f"{LAB}.ipynb", as_version=4)
    written_question(notebook).source = ANSWER
    handed_in = folder / "submitted" / "ada" / LAB / f"{LAB}.ipynb"
    handed_in.parent.mkdir(parents=True)
    nbformat.write(notebook, handed_in)
    alone = os.environ | {"OMP_NUM_THREADS": "1", "JUPYTER_NO_CONFIG": "1"}
    command = [sys.executable, "-m", "nbgrader", "autograde", LAB]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=alone)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def server(course, tmp_path_factory, root):
    """JupyterLab running in the course's folder."""
    running = runpy.run_path(str(root / "tests" / "jupyterlab.py"))["running"]
    with running(course, tmp_path_factory.mktemp("jupyter")) as lab:
        yield lab


@pytest.fixture
def page(server, browser):
    """Formgrader's first page; what it asks of other sites is refused."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(30_000)
    page.route(lambda url: not url.startswith(server.address), lambda route: route.abort())
    server.formgrader(page)
    yield page
    page.close()


def row(page, name):
    """One line of formgrader's table, as a list of what its columns say."""
    line = page.locator("#main-table tr").filter(
        has=page.get_by_role("link", name=name, exact=True)
    )
    line.wait_for()
    return [cell.inner_text().strip() for cell in line.locator("td").all()]


def test_every_lab_is_listed_with_its_release_and_its_submissions(page, course):
    labs = labs_of(course)
    assert page.locator("#main-table .name").all_inner_texts() == labs
    for lab in labs:
        release = page.locator("#main-table tr").filter(has_text=lab).locator(".preview a")
        assert release.get_attribute("href").endswith(f"/tree/./labs/{lab}")
        assert row(page, lab)[-3] == ("1" if lab == LAB else "0")


def test_an_answer_is_read_and_gets_its_points(page, course):
    source = nbformat.read(course / "build/source" / LAB / f"{LAB}.ipynb", as_version=4)
    about = written_question(source).metadata.nbgrader
    total = sum(c.metadata.get("nbgrader", {}).get("points", 0) for c in source.cells)

    page.get_by_role("link", name="Manual Grading").click()
    page.get_by_role("link", name=LAB, exact=True).click()
    page.get_by_role("link", name=LAB, exact=True).click()  # the lab's one notebook
    assert f"0 / {total:g}" in row(page, "Submission #1")
    page.get_by_role("link", name="Submission #1").click()

    cell = page.locator(".nbgrader_cell").filter(has=page.locator(f"#{about.grade_id}"))
    assert ANSWER in cell.inner_text()
    score = cell.locator("input.score")
    cell.locator(".needs_manual_grade").wait_for()  # the page has its grades
    with page.expect_response(lambda reply: "/api/grade/" in reply.url) as saved:
        score.fill(str(POINTS))
        score.press("Tab")
    assert saved.value.ok

    page.get_by_role("link", name="Manual Grading").click()
    assert f"{POINTS} / {total:g}" in row(page, LAB)
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        grade = book.find_grade(about.grade_id, LAB, LAB, "ada")
        assert (grade.manual_score, grade.needs_manual_grade) == (POINTS, False)
        assert book.find_submission(LAB, "ada").score == POINTS
