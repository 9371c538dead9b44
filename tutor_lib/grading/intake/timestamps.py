"""When a submission was handed in: nbgrader's timestamp.txt, which the student could write.

    handed in                      used        note
    no file                        none        no
    a date and time                that        no
    unreadable, or before 2000     none        yes
    in the future                  none        yes
    older than the notebook        that        yes

None means that nbgrader counts the submission as in time, as it does without a file: a student
loses no points by a broken clock, and the note tells the instructor to look.

"Older than the notebook" means that the notebook was last written minutes after the time stamp.
The exchange (`nbgrader submit`, `nbgrader collect`) keeps a file's time and writes stamps with a
zone, so there it tells of a forged stamp. `nbgrader zip_collect` writes stamps without a zone and
files anew: there a file's time is when it was collected, and is not compared.
"""

import re
from datetime import UTC, datetime, timedelta

from dateutil.tz import gettz

from tutor_lib.grading.notes import Note

SLACK = timedelta(minutes=5)  # clocks differ
# A whole date and time: dateutil, which nbgrader asks, fills what is missing from today's. And
# nbgrader reads an offset such as +0100 as a hundred seconds, an unknown zone as UTC.
STAMP = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[ T](?P<time>\d\d:\d\d(:\d\d(\.\d{1,6})?)?)"
    r"( ?(?P<offset>Z|[+-]\d\d:?\d\d)| (?P<zone>[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*))?",
    re.ASCII,
)


def handed_in(
    stamp: bytes, written: float | None, now: datetime
) -> tuple[datetime | None, list[Note]]:
    """The time in a timestamp.txt, in UTC without a zone, and what is doubtful about it.

    `written` is when the notebook was last written, in POSIX seconds; `now` is in UTC where it
    has no zone. The module's text says which times are used.
    """
    try:
        time, zoned = parse(stamp.decode("utf-8-sig").strip())
    except ValueError:
        return None, [_note("cannot be read as a date and time, and was left out")]
    if time > _utc(now) + SLACK:
        return None, [_note(f"says {time:%Y-%m-%d %H:%M} UTC, in the future, and was left out")]
    if zoned and written is not None and written > _posix(time + SLACK):
        about = f"says {time:%Y-%m-%d %H:%M} UTC, but the notebook was written later"
        return time, [_note(about)]
    return time, []


def parse(text: str) -> tuple[datetime, bool]:
    """The time that a stamp tells, in UTC without a zone, and whether it names its own zone.

    Raises ValueError for anything but a whole date and time from the year 2000 on.
    """
    parts = STAMP.fullmatch(text)
    if not parts:
        raise ValueError(f"no date and time: {text[:80]!r}")
    time = datetime.fromisoformat(f"{parts['day']}T{parts['time']}{parts['offset'] or ''}")
    if parts["zone"]:
        zone = gettz(parts["zone"])
        if zone is None:
            raise ValueError(f"no time zone: {parts['zone']!r}")
        time = time.replace(tzinfo=zone)
    if not 2000 <= time.year < 9999:
        raise ValueError(f"a time before 2000 or too far off: {text!r}")
    return _utc(time), time.tzinfo is not None


def _utc(time: datetime) -> datetime:
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)


def _posix(time: datetime) -> float:
    return time.replace(tzinfo=UTC).timestamp()


def _note(problem: str) -> Note:
    return Note("timestamp", f"The time stamp {problem}.")
