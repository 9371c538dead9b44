"""What students get: current, complete, and without a word of the answers."""

import re

import pytest


def regions(source, begin, end):
    """The lines between two markers."""
    return "\n".join(re.findall(rf"### {begin}\n(.*?)### {end}", source, re.DOTALL)).splitlines()


def secrets(cell):
    """The lines of a source cell that students must not see."""
    about = cell.metadata.get("nbgrader", {})
    lines = regions(cell.source, "BEGIN HIDDEN TESTS", "END HIDDEN TESTS")
    if about.get("solution"):
        lines += regions(cell.source, "BEGIN SOLUTION", "END SOLUTION") or cell.source.splitlines()
    return [line.strip() for line in lines if line.strip()]


def test_labs_are_what_the_sources_make(course, root):
    fresh = (course.folder / "labs/attention/attention.ipynb").read_bytes()
    assert (root / "labs/attention/attention.ipynb").read_bytes() == fresh, "run `make labs`"


def test_a_second_generation_gives_the_same_bytes(course):
    path = course.folder / "labs/attention/attention.ipynb"
    before = path.read_bytes()
    done = course.python("tutor_lib.grading.build", "attention")
    assert done.stdout.split() == ["labs/attention/attention.ipynb"]
    assert path.read_bytes() == before


def test_the_release_holds_no_answer_and_no_hidden_test(course):
    hidden = [line for cell in course.source.cells for line in secrets(cell)]
    assert len(hidden) > 50
    shown = {line.strip() for cell in course.release.cells for line in cell.source.splitlines()}
    assert not shown & set(hidden)
    for word in ("BEGIN ", "END ", "HIDDEN", "Marking scheme", "A good answer"):
        assert not any(word in cell.source for cell in course.release.cells), word


def test_only_the_notebook_is_released(course, root):
    for folder in (course.folder, root):
        names = [p.name for p in (folder / "labs/attention").iterdir() if p.suffix != ".ipynb"]
        assert set(names) <= {".ipynb_checkpoints"}


def test_no_machine_shows_in_the_release(course):
    assert set(course.release.metadata) == {"kernelspec", "language_info"}
    assert "version" not in course.release.metadata.language_info
    assert all(not cell.get("outputs") for cell in course.release.cells)


def test_cells_keep_their_ids(course):
    graded = [c for c in course.release.cells if "nbgrader" in c.metadata]
    assert all(cell.id == cell.metadata.nbgrader.grade_id for cell in graded)
    assert len({cell.id for cell in course.release.cells}) == len(course.release.cells)


EXERCISES = ["softmax", "attention_scores", "causal_mask", "attention", "plot_weights"]


def cell_before(course, grade_id):
    ids = [cell.id for cell in course.release.cells]
    return course.release.cells[ids.index(grade_id) - 1].source


@pytest.mark.parametrize("name", [*EXERCISES, "why_sqrt_d"])
def test_each_exercise_says_what_it_takes_and_has_three_hints(course, name):
    text = cell_before(course, name)
    assert re.search(r"\*\d+ minutes · [●○]{5} · \d points? · (unlocks|read by)", text)
    hint = r"<details><summary>Hint (\d): [a-z ]+</summary>\n\n.+?\n\n</details>"
    assert re.findall(hint, text, re.DOTALL) == ["1", "2", "3"]


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_do_not_give_the_code_away(course, name):
    code = {line.strip() for line in course.answers()[name].splitlines() if "=" in line}
    assert not any(line in cell_before(course, name) for line in code)


def test_points_are_the_same_in_notebook_text_and_checks(course):
    from tutor_lib.checks.attention import LAB

    graded = {c.id: c.metadata.nbgrader.points for c in course.release.cells
              if c.metadata.get("nbgrader", {}).get("grade")}  # fmt: skip
    assert graded == {f"{n}_check": LAB.parts[n].points for n in EXERCISES} | {"why_sqrt_d": 3}
    assert f"| {sum(graded.values())}: 12 are checked" in course.release.cells[0].source
    for name in EXERCISES:
        assert f"· {LAB.parts[name].points} points ·" in cell_before(course, name)
