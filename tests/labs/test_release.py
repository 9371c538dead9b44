"""What students get: current, complete, and without a word of the answers."""

import re

import pytest

from tests.labs_there import NAMES, REGION, lab_of, lines_of


@pytest.fixture(scope="module", params=NAMES)
def course(request, course_of):
    """Each lab in a course of its own."""
    return course_of(request.param)


def shown(cell):
    """The lines of a source cell that students may see: a model answer in prose is none."""
    if cell.cell_type == "markdown" and cell.metadata.get("nbgrader", {}).get("solution"):
        return set()
    return lines_of([REGION.sub("", cell.source)])


def test_labs_are_what_the_sources_make(course, root):
    path = f"labs/{course.lab}/{course.lab}.ipynb"
    fresh = (course.folder / path).read_bytes()
    assert (root / path).read_bytes() == fresh, "run `make labs`"


def test_a_second_generation_gives_the_same_bytes(course):
    path = f"labs/{course.lab}/{course.lab}.ipynb"
    before = (course.folder / path).read_bytes()
    done = course.python("tutor_lib.grading.build", course.lab)
    assert done.stdout.split() == [path]
    assert (course.folder / path).read_bytes() == before


def test_the_release_holds_no_answer_and_no_hidden_test(course):
    every = lines_of(cell.source for cell in course.source.cells)
    # `with torch.no_grad():`, say, may stand in a hidden region and in a shown cell too.
    hidden = every - {line for cell in course.source.cells for line in shown(cell)}
    assert len(hidden) > 50
    assert not hidden & lines_of(cell.source for cell in course.release.cells)
    for word in ("### BEGIN", "### END", "HIDDEN", "Marking scheme", "A good answer"):
        assert not any(word in cell.source for cell in course.release.cells), word


def test_only_the_notebook_is_released(course, root):
    for folder in (course.folder, root):
        names = [p.name for p in (folder / "labs" / course.lab).iterdir() if p.suffix != ".ipynb"]
        assert set(names) <= {".ipynb_checkpoints"}


def test_no_machine_shows_in_the_release(course):
    assert set(course.release.metadata) == {"kernelspec", "language_info"}
    assert "version" not in course.release.metadata.language_info
    assert all(not cell.get("outputs") for cell in course.release.cells)


def test_cells_keep_their_ids(course):
    graded = [c for c in course.release.cells if "nbgrader" in c.metadata]
    assert all(cell.id == cell.metadata.nbgrader.grade_id for cell in graded)
    assert len({cell.id for cell in course.release.cells}) == len(course.release.cells)


def marked(course, what):
    """The released cells that nbgrader has marked as `what`: {grade_id: cell}."""
    every = [c for c in course.release.cells if c.metadata.get("nbgrader", {}).get(what)]
    return {cell.id: cell for cell in every}


def text_before(course, grade_id):
    """The exercise's text: all Markdown between the graded cell before and the answer."""
    texts = []
    for cell in course.release.cells:
        if cell.id == grade_id:
            return "\n\n".join(texts)
        if cell.metadata.get("nbgrader", {}).get("grade"):
            texts = []
        elif cell.cell_type == "markdown":
            texts.append(cell.source)
    raise LookupError(grade_id)


def test_each_exercise_says_what_it_takes_and_has_three_hints(course):
    for name in marked(course, "solution"):
        text = text_before(course, name)
        line = r"\*\d+ minutes · [●○]{5} · \d+ points? · (unlocks|read by)"
        assert re.search(line, text), name
        hint = r"<details><summary>Hint (\d): [a-z ]+</summary>\n\n.+?\n\n</details>"
        assert re.findall(hint, text, re.DOTALL) == ["1", "2", "3"], name


def test_hints_do_not_give_the_code_away(course):
    for name, answer in course.answers().items():
        if name in lab_of(course.lab).exercises:
            code = {line.strip() for line in answer.splitlines() if "=" in line}
            assert not any(line in text_before(course, name) for line in code), name


def test_points_are_the_same_in_notebook_text_and_checks(course):
    lab = lab_of(course.lab)
    points = {name: cell.metadata.nbgrader.points for name, cell in marked(course, "grade").items()}
    by_machine = {f"{name}_check": part.points for name, part in lab.parts.items()}
    by_hand = {name: points[name] for name in points.keys() & marked(course, "solution").keys()}
    assert points == by_machine | by_hand
    assert 1 <= len(by_hand) <= 2
    total, checked = sum(points.values()), sum(by_machine.values())
    assert f"| {total}: {checked} are checked" in course.release.cells[0].source
    for name, exercise in lab.exercises.items():
        worth = sum(part.points for part in exercise.parts)
        assert re.search(rf"· {worth} points? ·", text_before(course, name)), name
    for name, worth in by_hand.items():
        assert re.search(rf"· {worth} points? ·", text_before(course, name)), name


def test_every_part_has_its_check_in_the_order_of_the_lab(course):
    lab = lab_of(course.lab)
    checks = [c.source.splitlines()[0] for c in course.release.cells if c.id.endswith("_check")]
    assert [re.match(r'check\("([^"]+)", (\w+)\)$', line)[1] for line in checks] == [*lab.parts]


def test_every_exercise_is_written_in_a_cell_of_its_name(course):
    lab = lab_of(course.lab)
    assert set(lab.exercises) <= set(marked(course, "solution"))
