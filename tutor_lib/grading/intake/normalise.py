"""Take in what a student handed in, whatever it is: the result is always a clean submission."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tutor_lib.grading.intake.canon import Canon
from tutor_lib.grading.intake.folder import (
    ENTRIES,
    File,
    Listing,
    Refused,
    is_regular,
    listing,
    opened,
    read,
)
from tutor_lib.grading.intake.reading import Given, Unreadable, cells_of, read_cells
from tutor_lib.grading.intake.restoring import restore
from tutor_lib.grading.intake.timestamps import handed_in
from tutor_lib.grading.limits import MIB
from tutor_lib.grading.notes import Note
from tutor_lib.grading.submission import Submission

NOTEBOOK_BYTES = 20 * MIB
FILES, FILES_BYTES = 100, 10 * MIB
STAMP, STAMP_BYTES = "timestamp.txt", 1_000
REFUSED = {
    "no-notebook": "Nothing was handed in",
    "too-large": f"The notebook has more than {NOTEBOOK_BYTES // MIB} MB, and was not read",
    "refused-file": "What was handed in cannot be opened, or is a link",
}


def take_in(folder: Path, student: str, canon: Canon, now: datetime | None = None) -> Submission:
    """The submission in a folder, with the lab's own cells restored, and notes on what was mended.

    Where there is no notebook to be read, the release stands in for it. `now` is the time that no
    time stamp may be after. Never raises for anything that a student can put there.
    """
    now = now or datetime.now(UTC)
    try:
        with opened(folder) as root:
            return _taken(root, student, canon, now)
    except Refused as refused:
        notes = [Note(refused.code, f"{REFUSED[refused.code]}.")]
        return _submission(student, canon, None, Beside({}, []), notes, None)


class Beside(NamedTuple):
    """The files beside the notebook, and what was passed over."""

    files: dict[str, bytes]
    notes: list[Note]


def _taken(root: int, student: str, canon: Canon, now: datetime) -> Submission:
    there = listing(root)
    name, notes = _chosen(root, there, f"{canon.lab}.ipynb")
    notes += _passed_over(there)
    notebook = None
    if name:
        try:
            notebook = read(root, name, NOTEBOOK_BYTES)
        except Refused as refused:
            notes.append(Note(refused.code, f"{REFUSED[refused.code]}."))
    time, doubts = _handed_in(root, notebook, now)
    beside = _beside(root, there)
    return _submission(student, canon, notebook, beside, notes + doubts, time)


def _submission(
    student: str,
    canon: Canon,
    notebook: File | None,
    beside: Beside,
    notes: list[Note],
    time: datetime | None,
) -> Submission:
    cells, problems = _cells(notebook, canon)
    restored, mended = restore(canon, cells)
    told = (*notes, *problems, *mended, *beside.notes)
    return Submission(canon.lab, student, restored, beside.files, told, time)


def _cells(notebook: File | None, canon: Canon) -> tuple[list[Given], list[Note]]:
    problems = []
    if notebook:
        try:
            return read_cells(notebook.data), []
        except Unreadable as error:
            problems = [Note("unreadable", f"The notebook cannot be read: {error}.")]
    return cells_of(canon.release), problems


def _chosen(root: int, there: Listing, own: str) -> tuple[str | None, list[Note]]:
    """The notebook that counts: the one of the lab's name, or the only one."""
    notebooks = [name for name in there.files if _is_notebook(name)]
    if is_regular(root, own):
        others = [name for name in notebooks if name != own]
        return own, [_several(f"Only {own} counts", others)] if others else []
    if len(notebooks) == 1:
        told = f"The notebook was named {shown(notebooks)}; it was taken for {own}."
        return notebooks[0], [Note("renamed", told)]
    notes = [_several(f"None of them is named {own}", notebooks)] if notebooks else []
    return None, [*notes, Note("no-notebook", f"There is no {own}.")]


def _several(what: str, others: Sequence[str]) -> Note:
    return Note("several", f"{what}; passed over: {shown(others)}.")


def _passed_over(there: Listing) -> list[Note]:
    if there.crowded:
        return [
            Note("too-large", f"There are over {ENTRIES:,} files; none but the notebook counts.")
        ]
    if there.refused:
        told = f"Passed over, as no plain files: {shown(there.refused)}."
        return [Note("refused-file", told)]
    return []


def _handed_in(
    root: int, notebook: File | None, now: datetime
) -> tuple[datetime | None, list[Note]]:
    if not is_regular(root, STAMP):
        return None, []
    try:
        stamp = read(root, STAMP, STAMP_BYTES).data
    except Refused:
        stamp = b""
    return handed_in(stamp, notebook.written if notebook else None, now)


def _beside(root: int, there: Listing) -> Beside:
    """The further files, by name, as long as they fit."""
    files: dict[str, bytes] = {}
    left, passed = FILES_BYTES, dict[str, list[str]]()
    for name in there.files:
        if _is_notebook(name) or name == STAMP:
            continue
        try:
            if len(files) == FILES:
                raise Refused("too-large")
            files[name] = read(root, name, left).data
            left -= len(files[name])
        except Refused as refused:
            passed.setdefault(refused.code, []).append(name)
    return Beside(files, [_not_taken(code, names) for code, names in passed.items()])


def _not_taken(code: str, names: Sequence[str]) -> Note:
    why = {
        "too-large": f"over {FILES} files or {FILES_BYTES // MIB} MB beside the notebook",
        "refused-file": "no plain files, or they cannot be opened",
    }[code]
    return Note(code, f"Passed over, as {why}: {shown(names)}.")


def _is_notebook(name: str) -> bool:
    return name.lower().endswith(".ipynb")


def shown(names: Iterable[str]) -> str:
    """The first names of a list, for people, without what cannot be shown."""
    names = list(names)
    clean = ["".join(c if c.isprintable() else "\ufffd" for c in name)[:80] for name in names[:3]]
    more = [f"{len(names) - 3} more"] if len(names) > 3 else []
    return ", ".join(clean + more)
