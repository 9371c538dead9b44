"""A course as nbgrader sees it: its configuration, its folders, who handed in."""

import fnmatch
import glob
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nbgrader.apps.baseapp import NbGrader
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties
from traitlets.config import Config

log = logging.getLogger(__name__)
UNSTORABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # half a surrogate pair: not UTF-8
Penalty = Callable[[str, float, float], float | None]  # student, score, seconds late


@dataclass(frozen=True)
class Course:
    """nbgrader's configuration of a course, and what follows from it."""

    config: Config
    directory: CourseDirectory

    @classmethod
    def open(cls, folder: Path) -> "Course":
        """The course in a folder, by its nbgrader_config.py.

        Raises ValueError if there is none. What is wrong in it is raised as it is.
        """
        folder = folder.resolve()
        if not (folder / "nbgrader_config.py").is_file():
            raise ValueError(f"no nbgrader_config.py in {folder}; is this the course's folder?")
        app = NbGrader()
        app.log_level = logging.ERROR  # it warns of paths where it finds none, before it finds it
        app.load_cwd_config = False  # another course's, if that is where we are
        app.raise_config_file_errors = True
        app.initialize([], root=str(folder))
        return cls(app.config, app.coursedir)

    @property
    def root(self) -> Path:
        """The course's folder."""
        return Path(self.directory.root)

    @property
    def db_url(self) -> str:
        """Where the gradebook is."""
        return str(self.directory.db_url)

    def submitted(self, student: str, lab: str) -> Path:
        """The folder that a student handed in."""
        return self._folder(self.directory.submitted_directory, student, lab)

    def autograded(self, student: str, lab: str) -> Path:
        """The folder of the graded notebook."""
        return self._folder(self.directory.autograded_directory, student, lab)

    def folder_of(self, lab: str) -> Path:
        """Where submissions are looked for, with `*` in place of the student."""
        return self.submitted("*", lab)

    def _folder(self, step: str, student: str, lab: str) -> Path:
        return Path(self.directory.format_path(step, student, lab))

    def students(self, lab: str, names: Iterable[str] | None = None) -> list[str]:
        """Who handed in a folder for the lab, with a notebook in it or not; or the named of them.

        Folders that are links are listed too: to refuse them is for intake. Hidden ones are not.
        A folder whose name the gradebook cannot hold is passed over with a warning.

        Raises ValueError if one of the names has handed in nothing.
        """
        there = sorted(name for name in self._found(lab) if _can_be_id(name))
        if names is None:
            return there
        for name in names:
            if name not in there:
                raise ValueError(f"{name!r} has handed in nothing: no {self.submitted(name, lab)}")
        return [name for name in there if name in set(names)]

    def _found(self, lab: str) -> set[str]:
        """The folders that fit nbgrader's pattern, which may order student and lab otherwise."""
        step, shape = self.directory.submitted_directory, self.directory.directory_structure

        def path(quote: Callable[[str], str], student: str) -> str:
            parts = {"nbgrader_step": quote(step), "assignment_id": quote(lab)}
            return shape.format(student_id=student, **parts)

        pattern = re.compile(path(re.escape, "(?P<student>[^/]+)"))
        paths = glob.glob(path(glob.escape, "*"), root_dir=self.root)
        matches = (pattern.fullmatch(found.replace("\\", "/")) for found in paths)
        return {match["student"] for match in matches if match}

    def chosen(self, lab: str) -> list[str]:
        """Those of `students` whom nbgrader's --student and student_id_exclude leave."""
        pattern = self.directory.student_id
        left_out = self.directory.student_id_exclude.split(",")
        return [
            student
            for student in self.students(lab)
            if (student == pattern or fnmatch.fnmatchcase(student, pattern))
            and student not in left_out
        ]

    @cached_property
    def penalty(self) -> Penalty | None:
        """What being late costs, by the configured plugin; None if nothing ever does."""
        late = AssignLatePenalties(config=self.config)
        if not late.enabled:
            return None
        late.init_plugin()
        return late.plugin_inst.late_submission_penalty

    @cached_property
    def permissions(self) -> int:
        """The rights of a graded notebook, as a mode: nbgrader's, 444 unless set otherwise."""
        from nbgrader.converters.autograde import Autograde

        converter = Autograde(coursedir=self.directory, config=self.config)
        return int(str(converter.permissions), 8)


def _can_be_id(name: str) -> bool:
    """Whether the gradebook, which holds 128 characters of UTF-8, can hold the name.

    nbgrader's commands take `*`, `?` and `[` for patterns of others' names.
    """
    fits = len(name) <= 128 and not UNSTORABLE.search(name) and not set(name) & set("*?[")
    if not fits:
        log.warning("Passed over %r: this cannot be a student's id. Rename the folder.", name)
    return fits
