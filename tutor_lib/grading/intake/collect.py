"""Collect from a learning platform's archives: for `nbgrader zip_collect`.

In nbgrader_config.py:

    c.ZipCollectApp.extractor_plugin = "tutor_lib.grading.intake.collect.SafeExtractor"
    c.ZipCollectApp.collector_plugin = "tutor_lib.grading.intake.collect.SafeCollector"
"""

import os
import shutil
from pathlib import Path
from typing import Any

from nbgrader.plugins import ExtractorPlugin, FileNameCollectorPlugin
from nbgrader.utils import parse_utc

from tutor_lib.grading.intake.archives import BadArchive, parts_of, unpack
from tutor_lib.grading.intake.folder import Refused, is_litter, open_regular, opened


class SafeExtractor(ExtractorPlugin):
    """Unpacks each archive into a folder of its name, and copies other files.

    What is not safe to unpack or copy is passed over with a line in the log; the others go on.
    An archive inside an archive stays packed.
    """

    def extract(self, archive_path: str, extracted_path: str) -> None:
        """Extract from the folder of archives to the other, keeping the folders between."""
        source, target = Path(archive_path), Path(extracted_path)
        if not any(source.iterdir()):
            self.log.warning("There are no files in %s", source)
        for here, folders, files in os.walk(source):
            folders[:] = sorted(name for name in folders if not is_litter(name))
            into = target / Path(here).relative_to(source)
            into.mkdir(parents=True, exist_ok=True)
            for name in sorted(name for name in files if not is_litter(name)):
                self._take(Path(here, name), into)

    def _take(self, path: Path, into: Path) -> None:
        try:
            if path.suffix in self.zip_ext:
                self._unpack(path, into)
            else:
                _copy(path, into / path.name)
        except BadArchive as error:
            self.log.error("Passed over %s: %s", path, error)
        except (Refused, OSError) as error:
            self.log.error("Passed over %s: it is no plain file, or cannot be copied", path)
            self.log.debug("%r", error)

    def _unpack(self, path: Path, into: Path) -> None:
        target = into / path.stem.removesuffix(".tar")
        self.log.info("Unpacking %s to %s", path, target)
        unpack(path, target)
        for inner in sorted(target.rglob("*")):
            if inner.suffix in self.zip_ext:
                self.log.warning("Still packed, put it among the archives if it counts: %s", inner)


class SafeCollector(FileNameCollectorPlugin):
    """Finds student, file and time in a file's name, as nbgrader does, by `named_regexp`.

    nbgrader ends the whole collection at a time that it cannot read, or when a student has a file
    twice and no times tell which is newer: here that time is left out and the first file counts.
    And it writes wherever the names lead, also to a student called `..`: here they are passed over.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._timed: dict[tuple[str, str], bool] = {}

    def collect(self, submitted_file: str) -> dict[str, str] | None:
        """What a file's name tells, or None if it is passed over."""
        found = super().collect(submitted_file)
        if not found or not {"student_id", "file_id"} <= found.keys():
            return found
        if not _is_plain(found["student_id"], found["file_id"]):
            self.log.error("Passed over %s: it names no student, or no file", submitted_file)
            return None
        if not _is_time(found.get("timestamp")):
            found.pop("timestamp", None)
        return None if self._is_repeated(submitted_file, found) else found

    def _is_repeated(self, submitted_file: str, found: dict[str, str]) -> bool:
        name = os.path.splitext(found["file_id"])[0] + os.path.splitext(submitted_file)[1]
        key, timed = (found["student_id"], name), "timestamp" in found
        if key in self._timed and not (timed and self._timed[key]):
            self.log.error("Passed over %s: %s has another %s", submitted_file, *key)
            return True
        self._timed[key] = timed
        return False


def _is_plain(student: str | None, file: str | None) -> bool:
    """Whether nbgrader may make a path of them: one name, and one that leads down."""
    try:
        return len(parts_of(student or "")) == 1 and bool(parts_of(file or ""))
    except BadArchive:
        return False


def _is_time(text: str | None) -> bool:
    try:
        return bool(text) and parse_utc(text) is not None
    except (ValueError, OverflowError):
        return False


def _copy(path: Path, target: Path) -> None:
    with (
        opened(path.parent.resolve()) as folder,
        open(open_regular(folder, path.name), "rb") as source,
    ):
        with open(target, "xb") as copy:
            shutil.copyfileobj(source, copy)
