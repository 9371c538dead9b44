"""Temporary courses with the repository's sources and configuration, and nbgrader in them."""

import copy
import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook


class Course:
    """One lab, its submissions and its gradebook, in a folder of its own."""

    def __init__(self, folder: Path, lab: str) -> None:
        self.folder, self.lab = folder, lab
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "JUPYTER_NO_CONFIG": "1"}

    def python(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run `python -m …` in the course's folder."""
        return subprocess.run([sys.executable, "-m", *arguments], cwd=self.folder,
                              env=self.environment, capture_output=True, text=True,
                              timeout=900)  # fmt: skip

    def nbgrader(self, *arguments: str) -> subprocess.CompletedProcess:
        """Run an nbgrader command, which must succeed."""
        done = self.python("nbgrader", *arguments)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-5000:]
        return done

    @property
    def source(self) -> nbformat.NotebookNode:
        """The notebook with answers."""
        return self._read("build/source")

    @property
    def release(self) -> nbformat.NotebookNode:
        """The notebook that students get."""
        return self._read("labs")

    def _read(self, step: str) -> nbformat.NotebookNode:
        return nbformat.read(self.folder / step / self.lab / f"{self.lab}.ipynb", as_version=4)

    def answers(self) -> dict[str, str]:
        """The model answer to each exercise."""
        return {
            cell.metadata.nbgrader.grade_id: cell.source
            for cell in self.source.cells
            if cell.metadata.get("nbgrader", {}).get("solution")
        }

    def submit(self, student: str, answers: dict[str, str], closing: bool = True) -> Path:
        """Put `answers` into the release's cells and hand it in for `student`.

        Without `closing`, what comes after the last graded cell is left out.
        """
        notebook = copy.deepcopy(self.release)
        if not closing:
            graded = [i for i, c in enumerate(notebook.cells) if "nbgrader" in c.metadata]
            del notebook.cells[graded[-1] + 1 :]
        cells = {c.metadata.get("nbgrader", {}).get("grade_id"): c for c in notebook.cells}
        for name, answer in answers.items():
            cells[name].source = answer
        path = self.folder / "submitted" / student / self.lab / f"{self.lab}.ipynb"
        path.parent.mkdir(parents=True)
        nbformat.write(notebook, path)
        return path

    def feedback(self, student: str) -> str:
        """The page that the student gets back."""
        return (self.folder / "feedback" / student / self.lab / f"{self.lab}.html").read_text()

    def scores(self, student: str) -> dict[str, float | None]:
        """What each part of a submission earned by machine, by the part's name."""
        with Gradebook(f"sqlite:///{self.folder / 'gradebook.db'}") as book:
            submission = book.find_submission(self.lab, student)
            return {grade.name.removesuffix("_check"): grade.auto_score
                    for notebook in submission.notebooks for grade in notebook.grades}  # fmt: skip

    def grades(self) -> dict[str, float]:
        """Each student's score in the exported table."""
        with (self.folder / "grades.csv").open(newline="") as file:
            return {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}


@pytest.fixture(scope="session")
def course_of(tmp_path_factory, root):
    """Release a lab into a temporary folder, once."""
    courses: dict[str, Course] = {}

    def released(lab: str) -> Course:
        if lab not in courses:
            folder = tmp_path_factory.mktemp(f"course_{lab}")
            shutil.copytree(root / "solutions", folder / "solutions")
            shutil.copy(root / "nbgrader_config.py", folder)
            courses[lab] = Course(folder, lab)
            done = courses[lab].python("tutor_lib.grading.build", lab, "--course", str(folder))
            assert done.returncode == 0, done.stderr
        return courses[lab]

    return released


@pytest.fixture(scope="session")
def course(course_of) -> Course:
    """The attention lab in a course of its own."""
    return course_of("attention")
