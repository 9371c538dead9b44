"""Every mistake and every right answer, handed in and graded under the judge.

A submission holds one mistake in some exercises and right answers in the others: the parts of
the mistaken ones that see the mistake lose their points and show its hint, all others keep
theirs. Over the submissions, every mistake and every right answer has its turn.
"""

import matplotlib as mpl
import nbformat
import pytest

from tests.cells import cell
from tests.labs_there import NAMES, lab_of, right_answers, typed

# As in a notebook, nothing checks shapes while the answers run.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("unchecked_shapes")]
mpl.use("Agg")


def plan(lab):
    """What each submission holds: {exercise: (thing, is it a mistake)}, mistakes spread evenly.

    The exercises with fewer mistakes than submissions have right answers in the others.
    """
    exercises = lab_of(lab).exercises.values()
    answers = right_answers(lab)
    count = max(len(e.misconceptions) + len(answers[e.name]) for e in exercises)
    submissions = [{} for _ in range(count)]
    for offset, exercise in enumerate(exercises):
        right = [(answer, False) for answer in answers[exercise.name]]
        things = [(m, True) for m in exercise.misconceptions] + right
        for i in range(count):
            thing = things[i] if i < len(things) else right[i % len(right)]
            submissions[(i + 3 * offset) % count][exercise.name] = thing
    return submissions


ROWS = [pytest.param(lab, marks=pytest.mark.xdist_group(f"grades of {lab}")) for lab in NAMES]


@pytest.fixture(scope="module", params=ROWS)
def graded(request, course_of):
    """The lab's submissions, all graded in one run of nbgrader."""
    lab = request.param
    course = course_of(lab)
    grade(course, lab)
    return course


def grade(course, lab):
    """Hand in what is planned, and have it graded."""
    lent = {e.name: e.lent for e in lab_of(lab).exercises.values()}
    course.submit("untouched", {})
    solution = course.answers()
    course.submit("solution", solution)
    for number, held in enumerate(plan(lab)):
        answers = solution | {
            name: cell(thing.wrong if mistaken else thing, name, lent[name])
            for name, (thing, mistaken) in held.items()
        }
        course.submit(f"student{number:02}", answers, closing=False)
    course.nbgrader("autograde", lab)


def told(course, student):
    """What the graded notebook's checks said, on one line."""
    path = course.folder / "autograded" / student / course.lab / f"{course.lab}.ipynb"
    cells = nbformat.read(path, as_version=4).cells
    outputs = [out for cell in cells for out in cell.get("outputs", [])]
    errors = [out.evalue for out in outputs if out.output_type == "error"]
    return " ".join(" ".join(errors).split())


def lost_parts(exercise, mistake):
    """The parts of the exercise that see the mistake."""
    student = typed(exercise, mistake.wrong)
    return {part.name for part in exercise.parts if part.diagnose(student, 1)}


def test_the_table_of_mistakes_and_right_answers(graded):
    lab = lab_of(graded.lab)
    full = {name: part.points for name, part in lab.parts.items()}
    wrong_cells = []
    for number, held in enumerate(plan(graded.lab)):
        student = f"student{number:02}"
        scores, said = graded.scores(student), told(graded, student)
        expected = dict(full)
        for name, (thing, mistaken) in held.items():
            hint = ""
            if mistaken:
                lost = lost_parts(lab.exercises[name], thing)
                expected |= dict.fromkeys(lost, 0)
                hint = "hint" if thing.hint in said else "NO HINT"
            print(f"| {graded.lab} | {name} | {getattr(thing, 'name', '')} | {student} | {hint} |")
            if hint == "NO HINT":
                wrong_cells.append((student, name, thing.name))
        seen = {part: scores[part] for part in full}
        wrong_cells += [(student, p, seen[p], held) for p in full if seen[p] != expected[p]]
    assert not wrong_cells


def test_the_solution_scores_everything(graded):
    scores = graded.scores("solution")
    for name, part in lab_of(graded.lab).parts.items():
        assert scores[name] == part.points


def test_the_untouched_release_scores_nothing(graded):
    assert set(graded.scores("untouched").values()) == {0}
