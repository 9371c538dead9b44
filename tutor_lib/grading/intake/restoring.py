"""Put a student's cells into the lab's own frame.

The result has every cell that nbgrader knows once, in the lab's order. What students may not
change is the lab's, what they fill in is theirs, and their further cells stay behind the cell
that they followed.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import nbformat
from nbformat import NotebookNode

from tutor_lib.grading.intake.canon import Canon, LabCell, marks, plain
from tutor_lib.grading.intake.reading import Given
from tutor_lib.grading.notes import Note

# By these tags a notebook says that a cell shall not run, or may fail.
RUN_TAGS = {"skip-execution", "raises-exception"}


class Claims(NamedTuple):
    """Which of the given cells is which of the lab's, by grade_id: where it is the answer, and
    where else it is. `by_mark` names those that still had their grade_id."""

    answer: dict[str, int]
    copies: dict[str, list[int]]
    by_mark: frozenset[str]


def restore(canon: Canon, given: Sequence[Given]) -> tuple[NotebookNode, list[Note]]:
    """The lab's notebook with the student's answers, and what was mended."""
    claims = claim(canon, given)
    cells = list(_arranged(canon, given, claims))
    _name(cells, canon)
    frame = {"metadata": canon.source.metadata, "nbformat": 4, "nbformat_minor": 5}
    notes = [*_order(canon, claims), *_marks(canon, given)]
    for cell in canon.cells.values():
        notes += _mended(cell, given, claims)
    # from_dict copies: who changes this notebook changes neither the lab's nor the next student's.
    return nbformat.from_dict({"cells": cells, **frame}), notes


def claim(canon: Canon, given: Sequence[Given]) -> Claims:
    """Tell the lab's cells: by grade_id, and one that nobody claims by its id, then its text."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, cell in enumerate(given):
        if cell.grade_id in canon.cells:
            places[cell.grade_id].append(place)
    by_mark = frozenset(places)
    _claim_unmarked(canon, given, places)
    answer = {
        grade_id: _answer(canon.cells[grade_id], given, at) for grade_id, at in places.items()
    }
    copies = {grade_id: [p for p in at if p != answer[grade_id]] for grade_id, at in places.items()}
    return Claims(answer, copies, by_mark)


def _claim_unmarked(canon: Canon, given: Sequence[Given], places: dict[str, list[int]]) -> None:
    """Some programs lose nbgrader's metadata. The builder made the cell's id from grade_id."""
    free = [place for place, cell in enumerate(given) if cell.grade_id not in canon.cells]
    for place in list(free):
        own_id = given[place].id
        if own_id in canon.cells and own_id not in places:
            places[own_id].append(place)
            free.remove(place)
    texts = {place: plain(given[place].source) for place in free}
    for cell in canon.cells.values():
        alike = [] if cell.grade_id in places else [p for p in free if texts[p] in cell.known]
        if alike:
            places[cell.grade_id].append(alike[0])
            free.remove(alike[0])


def _answer(cell: LabCell, given: Sequence[Given], places: Sequence[int]) -> int:
    """Of several copies the first that somebody wrote in."""
    written = (place for place in places if plain(given[place].source) not in cell.known)
    return places[0] if cell.locked else next(written, places[0])


def _arranged(canon: Canon, given: Sequence[Given], claims: Claims) -> Iterator[dict[str, Any]]:
    followers = _followers(canon, given, claims)
    waiting = followers[""]
    for cell in canon.cells.values():
        there = cell.grade_id in claims.answer
        # Of the cells that were deleted, a test comes after the student's further cells, and any
        # other before: then a definition that was moved into one of them counts, not the stub.
        if there or cell.is_test:
            yield from waiting
            waiting = followers[cell.grade_id]
        yield _lab_cell(cell, given[claims.answer[cell.grade_id]] if there else None)
    yield from waiting


def _followers(
    canon: Canon, given: Sequence[Given], claims: Claims
) -> Mapping[str, list[dict[str, Any]]]:
    """The student's further cells, by the lab's cell that they follow; the first follow none.

    A copy of a lab's cell is one of them if there is anything new in it: JupyterLab copies the
    metadata too when a cell is copied or split.
    """
    names = {place: grade_id for grade_id, place in claims.answer.items()}
    copies = {place: grade_id for grade_id, at in claims.copies.items() for place in at}
    found, last = defaultdict[str, list[dict[str, Any]]](list), ""
    for place, cell in enumerate(given):
        if place in names:
            last = names[place]
        elif place not in copies or plain(cell.source) not in canon.cells[copies[place]].known:
            found[last].append(_cell(cell.kind, cell.source, {}))
    return found


def _lab_cell(cell: LabCell, given: Given | None) -> dict[str, Any]:
    # An untouched stub is the lab's to the letter, so that nbgrader sees that nobody wrote here.
    own = given is None or cell.locked or plain(given.source) in cell.known
    source = cell.source if given is None or own else given.source
    return _cell(cell.kind, source, cell.metadata) | {"id": cell.grade_id}


def _cell(kind: str, source: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    code: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": metadata, "source": source, **code}


def _name(cells: Sequence[dict[str, Any]], canon: Canon) -> None:
    """Give the student's further cells ids that no cell of the lab has."""
    numbers = (f"own-{n}" for n in range(1, len(cells) + len(canon.cells) + 1))
    free = (own_id for own_id in numbers if own_id not in canon.cells)
    for cell in cells:
        if "id" not in cell:
            cell["id"] = next(free)


def _order(canon: Canon, claims: Claims) -> Iterator[Note]:
    places = [claims.answer[grade_id] for grade_id in canon.cells if grade_id in claims.answer]
    if places != sorted(places):
        yield Note("cells-restored", "Cells of the lab had been moved; they are in order again.")


def _marks(canon: Canon, given: Sequence[Given]) -> Iterator[Note]:
    """What the student's further cells bore that counts for nothing."""
    own = [cell for cell in given if cell.grade_id not in canon.cells]
    if any(any(marks(cell.about)) for cell in own):
        yield Note("metadata-restored", "A cell was marked for grading that is none of the lab's.")
    if any(cell.tags & RUN_TAGS for cell in own):
        told = "Tags that keep a cell from running were taken off: every cell is run."
        yield Note("metadata-restored", told)


def _mended(cell: LabCell, given: Sequence[Given], claims: Claims) -> Iterator[Note]:
    """What was mended in one cell of the lab."""
    if cell.grade_id not in claims.answer:
        told = "This cell was missing; it is there again, as the lab has it."
        yield Note("cells-restored", told, cell.grade_id)
        return
    found = given[claims.answer[cell.grade_id]]
    for told in _text_mended(cell, found, len(claims.copies[cell.grade_id])):
        yield Note("cells-restored", told, cell.grade_id)
    for told in _metadata_mended(cell, found, cell.grade_id in claims.by_mark):
        yield Note("metadata-restored", told, cell.grade_id)


def _text_mended(cell: LabCell, found: Given, copies: int) -> Iterator[str]:
    if copies:
        kept = "the lab's own" if cell.locked else "the first that was written in"
        yield f"This cell was there {copies + 1} times; {kept} counts."
    if found.kind != cell.kind:
        yield f"This cell had become a {found.kind} cell; it is a {cell.kind} cell again."
    if cell.locked and plain(found.source) not in cell.known:
        yield "This cell may not be changed; it says again what the lab says."


def _metadata_mended(cell: LabCell, found: Given, marked: bool) -> Iterator[str]:
    if not marked:
        yield "This cell had lost its mark; it was told by its id or its text."
    elif marks(found.about) != marks(cell.about):
        yield "This cell's points or flags had been changed; they are the lab's again."
    if (found.tags - set(cell.metadata.get("tags", []))) & RUN_TAGS:
        yield "Tags that keep this cell from running were taken off."
