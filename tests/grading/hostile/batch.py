"""All rows of the hostile table handed in to one course, and graded by the real thing, once.

What an attacker may have learnt is told to every one of them: COURSE is the course's folder on
the host, PORT a port of the host where somebody listens (TCP and UDP), SOCKET the name of a Unix
socket that somebody listens at, also in the abstract namespace.
"""

import contextlib
import ctypes
import hashlib
import json
import os
import select
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import psutil
from nbgrader.api import Gradebook

from tests.grading.hostile.row import Row
from tests.grading.probe import LAB, filled, make_course, submit
from tutor_lib.grading.gradebook.course import Course
from tutor_lib.grading.gradebook.fingerprint import fingerprint

# What nobody may read: the hidden tests and solutions hold the first word, another student's file
# the second, the grader's environment the third, and every SQLite database begins with the last.
SECRETS = ("marigold", "tulip", "crocus", "SQLite format")
EARLIER = "earlier"  # graded by hand, before the batch
LIMITS = """
c.Limits.cell_seconds = 3
c.Limits.notebook_seconds = 12
c.Limits.memory_bytes = 300 << 20
c.Limits.processes = 32
c.Limits.file_bytes = 16 << 20
c.Limits.disk_bytes = 32 << 20
c.Limits.output_bytes = 200_000
c.Limits.output_messages = 2_000
"""
COLLECT = r"""
c.FileNameCollectorPlugin.named_regexp = r".*/extracted/(?P<student_id>[^/]+)/(?P<file_id>[^/]+)$"
"""
GUARDED = ("solutions", "build/source", "labs", "submitted", "downloaded", "nbgrader_config.py")
MADE = {"autograded", "feedback", "grades.csv", "gradebook.db", ".nbgrader.log"}
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Came:
    """What came out of one submission; no scores if it is not in the gradebook."""

    scores: dict[str, float] | None = None
    codes: frozenset[str] = frozenset()
    said: str = ""  # by the student's cells
    page: str = ""  # all that the feedback consists of


@dataclass
class Outcome:
    """What came out of the batch."""

    came: dict[str, Came] = field(default_factory=dict)
    log: str = ""
    seconds: float = 0.0
    guarded: list[dict[str, str]] = field(default_factory=list)  # before and after
    earlier: list[object] = field(default_factory=list)  # before and after
    left: list[str] = field(default_factory=list)  # files and processes
    heard: list[str] = field(default_factory=list)
    grades: str = ""


class Failed(RuntimeError):
    """A command of the batch did not work: the whole table is worth nothing."""


class Host:
    """Sockets of the host that nobody in a sandbox may reach. Nobody accepts: a connection that
    was tried waits to be seen."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "listener")
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(tcp.getsockname())
        self.port = tcp.getsockname()[1]
        self.sockets = {"tcp": tcp, "udp": udp}
        for kind, name in {"unix": self.path, "abstract": f"\0{self.path}"}.items():
            self.sockets[kind] = socket.socket(socket.AF_UNIX)
            self.sockets[kind].bind(name)
            self.sockets[kind].listen()

    def heard(self) -> list[str]:
        """Which of the sockets somebody has reached."""
        ready, _, _ = select.select(list(self.sockets.values()), [], [], 0)
        return [kind for kind, one in self.sockets.items() if one in ready]

    def close(self) -> None:
        """Listen no longer."""
        for one in self.sockets.values():
            one.close()


def run(folder: Path, rows: Sequence[Row], workers: int = 2) -> Outcome:
    """Make the course in this folder, hand everything in, grade, and give the feedback.

    Raises Failed.
    """
    course, outcome = _course(folder), Outcome()
    host = Host(folder)
    for row in rows:
        _hand_in(row, course, host)
    if any(row.get("archive", None) for row in rows):
        outcome.log += _nbgrader(course, "zip_collect", LAB)
    _grade_by_hand(course)
    with _watched(course, host, outcome):
        grade = ["-m", "tutor_lib.grading.cli", "grade", LAB, "--workers", str(workers)]
        outcome.log += _command(course, grade)
        outcome.log += _nbgrader(course, "generate_feedback", LAB)
        outcome.log += _nbgrader(course, "export")
    outcome.came = dict(_read(course, rows))
    outcome.grades = (course / "grades.csv").read_text()
    return outcome


def _course(folder: Path) -> Path:
    course = make_course(folder / "course")
    with (course / "nbgrader_config.py").open("a") as config:
        config.write(LIMITS + COLLECT)
    return course


def _hand_in(row: Row, course: Path, host: Host) -> None:
    known = f"COURSE, PORT, SOCKET = {str(course)!r}, {host.port}, {host.path!r}\n"
    first = row.get("FIRST", "")
    notebook = filled(course, row.answers, known + first if first else "")
    row.get("edit", lambda notebook: None)(notebook)
    if archive := row.get("archive", None):
        path = course / "downloaded" / LAB / "archive" / f"{row.student}.zip"
        path.parent.mkdir(parents=True, exist_ok=True)
        archive(path, nbformat.writes(notebook))
    else:
        row.get("hand_in", lambda folder: None)(submit(course, row.student, notebook))


def _grade_by_hand(course: Path) -> None:
    """A student whom somebody has graded already, and names that are formulas."""
    url = f"sqlite:///{course / 'gradebook.db'}"
    with warnings.catch_warnings(action="ignore"), Gradebook(url) as book:
        book.update_or_create_student(EARLIER, last_name="=1+1", first_name='Ann, "Bo" <script>')
        submission = book.update_or_create_submission(LAB, EARLIER)
        (grade,) = (g for n in submission.notebooks for g in n.grades if g.name == "why")
        grade.manual_score = 1
        book.db.commit()


@contextlib.contextmanager
def _watched(course: Path, host: Host, outcome: Outcome) -> Iterator[None]:
    """Look at all that must not change, before and after."""
    prctl = ctypes.CDLL(None).prctl
    prctl(SUBREAPER, 1)  # whatever is orphaned becomes ours, and is seen
    before = {*os.listdir(course)} | MADE
    outcome.guarded.append(_digests(course))
    outcome.earlier.append(_fingerprint(course)[EARLIER])
    start = time.monotonic()
    try:
        yield
    finally:
        outcome.seconds = time.monotonic() - start
        outcome.heard = host.heard()
        host.close()
        outcome.left = list(_orphans())
        prctl(SUBREAPER, 0)
    outcome.left += {*os.listdir(course)} - before
    outcome.guarded.append(_digests(course))
    outcome.earlier.append(_fingerprint(course)[EARLIER])


def _orphans() -> Iterator[str]:
    """The processes that the batch has left behind."""
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error, ChildProcessError):
            if process.status() != psutil.STATUS_ZOMBIE:
                yield f"{process.pid} {process.name()}"
            elif process.ppid() == os.getpid():
                os.waitpid(process.pid, os.WNOHANG)


def _digests(course: Path) -> dict[str, str]:
    """What each guarded file holds, or what else it is."""
    roots = [course / name for name in GUARDED]
    paths = [p for root in roots for p in (root, *root.rglob("*"))]
    return {str(p.relative_to(course)): _digest(p) for p in paths if os.path.lexists(p)}


def _digest(path: Path) -> str:
    about = path.lstat()
    if path.is_symlink():
        return os.readlink(path)
    if path.is_file() and about.st_size < 1 << 26:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{about.st_mode} {about.st_size if path.is_file() else 0}"


def _fingerprint(course: Path) -> dict[str, dict[str, list]]:
    return fingerprint(Course.open(course), LAB)


def _nbgrader(course: Path, *words: str) -> str:
    return _command(course, ["-m", "nbgrader", *words])


def _command(course: Path, words: Sequence[str]) -> str:
    environment = os.environ | {"JUPYTER_NO_CONFIG": "1", "A_PASSWORD": "crocus"}
    done = subprocess.run(
        [sys.executable, *words],
        cwd=course, env=environment, text=True, timeout=900,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"{' '.join(words)}: {done.returncode}\n{done.stdout[-5000:]}")
    return done.stdout


def _read(course: Path, rows: Sequence[Row]) -> Iterator[tuple[str, Came]]:
    """What the gradebook, the graded notebook and the feedback say."""
    recorded = _fingerprint(course)
    for row in rows:
        about = recorded.get(row.student)
        if about is None:
            yield row.name, Came()
            continue
        scores = {name: auto for name, auto, *_ in about["grade"] if name != "why"}
        codes = frozenset(code for code, _ in about["notes"])
        files = (course / "feedback" / row.student / LAB).rglob("*")
        page = "".join(path.read_text() for path in files if path.is_file())
        yield row.name, Came(scores, codes, _said(course, row), page)


def _said(course: Path, row: Row) -> str:
    """What the student's code has shown; what the judge shows is not for students."""
    graded = json.loads((course / "autograded" / row.student / LAB / f"{LAB}.ipynb").read_bytes())
    cells = [cell for cell in graded["cells"] if cell["cell_type"] == "code"]
    said = []
    for cell in cells:
        locked = cell["metadata"].get("nbgrader", {}).get("locked", False)
        outputs = cell["outputs"]
        said += [o for o in outputs if not locked or o["output_type"] == "stream"]
    return json.dumps(said, ensure_ascii=False)
