"""Time stamps: what nbgrader writes is read as nbgrader reads it, what is doubtful is noted."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from nbgrader.utils import parse_utc

from tests.grading.intake.tiny import NOW, codes
from tutor_lib.grading.intake.timestamps import SLACK, handed_in, parse

pytestmark = pytest.mark.xdist_group("intake")  # the course is made once

NOON = datetime(2024, 5, 1, 12)


def posix(time):
    return time.replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2015-02-02 15:58:23.948203 UTC",
        "2015-02-02 15:58:23.948203 America/Los_Angeles",
        "2015-07-02 15:58:23 Europe/Berlin",
        "2015-07-02 15:58:23 GMT",
        "2015-02-02 15:58:23.948203",
        "2015-02-02 15:58:23",
        "2015-02-02 15:58",
        "2015-02-02T15:58:23Z",
        "2015-02-02T15:58:23+01:00",
        "2015-02-02 15:58:23-0330",
    ],
)
def test_as_nbgrader_reads_it(text):
    assert parse(text)[0] == parse_utc(text)


def test_an_offset_after_a_space_counts_hours():
    """nbgrader takes +0100 for a hundred seconds."""
    assert parse("2015-02-02 15:58:23 +0100") == (datetime(2015, 2, 2, 14, 58, 23), True)


BAD = {
    "empty": b"",
    "a word": b"yesterday",
    "no day": b"10:30",  # dateutil takes today's
    "no year": b"Feb 2",
    "a number": b"12",
    "no time": b"2024-05-01",
    "a day that is not there": b"2024-02-30 12:00:00",
    "a zone that is not there": b"2024-05-01 12:00:00 Mars/Olympus",  # nbgrader takes UTC
    "a zone that is a path": b"2024-05-01 12:00:00 ../../etc/passwd",
    "a zone that is a folder": b"2024-05-01 12:00:00 America",
    "year 1": b"0001-01-01 00:00:00 Asia/Tokyo",
    "year 1970": b"1970-01-01 00:00:00",
    "year 9999": b"9999-12-31 23:59:59 America/Los_Angeles",
    "other digits": "２０２４-05-01 12:00:00".encode(),
    "not UTF-8": b"2024-05-01 12:00:00 \xff",
    "UTF-16": "2024-05-01 12:00:00".encode("utf-16"),
    "two lines": b"2024-05-01 12:00:00\n2024-05-02 12:00:00",
    "a long one": b"2024-05-01 12:00:00." + b"1" * 100_000,
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD)
def test_what_cannot_be_read_is_left_out_and_noted(data):
    time, notes = handed_in(data, None, NOW)
    assert time is None
    assert [note.code for note in notes] == ["timestamp"]
    assert "cannot be read" in notes[0].told


@pytest.mark.parametrize("now", [NOON, NOON.replace(tzinfo=UTC)])
@pytest.mark.parametrize(
    ("late", "kept"), [(timedelta(0), True), (SLACK, True), (SLACK + timedelta(seconds=1), False)]
)
def test_the_future(now, late, kept):
    time, notes = handed_in(f"{NOON + late} UTC".encode(), None, now)
    assert (time, len(notes)) == ((NOON + late, 0) if kept else (None, 1))


@pytest.mark.parametrize(
    ("stamp", "later", "doubtful"),
    [
        (b"2024-05-01 12:00:00.000000 UTC", -timedelta(days=1), False),
        (b"2024-05-01 12:00:00.000000 UTC", SLACK, False),
        (b"2024-05-01 12:00:00.000000 UTC", SLACK + timedelta(seconds=1), True),
        (b"2024-05-01 14:00:00 Europe/Berlin", timedelta(hours=1), True),
        # As zip_collect writes it: the notebook beside it was written when it was collected.
        (b"2024-05-01 12:00:00", timedelta(days=9), False),
    ],
)
def test_a_notebook_that_was_written_later(stamp, later, doubtful):
    time, notes = handed_in(stamp, posix(NOON + later), NOW)
    assert time == NOON
    assert [note.code for note in notes] == ["timestamp"] * doubtful


def test_in_a_folder(folder, book):
    path = folder.put(book)
    assert folder.take().timestamp is None
    folder.put("2024-05-01 12:00:00 UTC\n", "timestamp.txt")
    os.utime(path, (0, posix(NOON)))
    submission = folder.take()
    assert (submission.timestamp, submission.notes, submission.files) == (NOON, (), {})
    os.utime(path, (0, posix(NOON) + 3600))
    submission = folder.take()
    assert (submission.timestamp, codes(submission)) == (NOON, {"timestamp"})


def test_a_time_stamp_that_is_huge_or_a_link(folder, book, tmp_path):
    folder.put("9" * 5_000_000, "timestamp.txt")
    submission = folder.taken(book)
    assert (submission.timestamp, codes(submission)) == (None, {"timestamp"})
    folder.path.joinpath("timestamp.txt").unlink()
    (tmp_path / "when.txt").write_text("2024-05-01 12:00:00")
    folder.path.joinpath("timestamp.txt").symlink_to(tmp_path / "when.txt")
    submission = folder.taken(book)
    assert (submission.timestamp, codes(submission)) == (None, {"refused-file"})
