"""A tiny course in a folder of its own, on SQLite and on a PostgreSQL server that lives as long
as the tests."""

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy
from nbgrader.api import Base

from tests.grading.gradebook.classroom import LAB, Classroom
from tests.grading.myst import HEAD
from tutor_lib.grading.build import release

CONFIG = """\
import os
import sys
from pathlib import Path

c = get_config()
c.CourseDirectory.root = str(Path(__file__).resolve().parent)
c.CourseDirectory.course_id = "tiny"  # PostgreSQL, unlike SQLite, misses it
c.CourseDirectory.source_directory = "build/source"
c.CourseDirectory.release_directory = "labs"
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
"""
# name: (kind of cell, grade, solution, task, points, source)
CELLS = {
    "setup": ("code", False, False, False, None, "import math"),
    "double": ("code", False, True, False, None,
               "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"),
    "double_check": ("code", True, False, False, 3,
                     'check("double", double)\n### BEGIN HIDDEN TESTS\n'
                     "assert double(21) == 42, \"expected 42\"\n### END HIDDEN TESTS"),
    "partial_check": ("code", True, False, False, 4, "count(double)"),
    "why": ("markdown", True, True, False, 2,
            "Why?\n\n### BEGIN SOLUTION\nBecause.\n### END SOLUTION"),
    "draw": ("markdown", False, False, True, 5, "Draw it."),
}  # fmt: skip


def _source() -> str:
    cells = "\n".join(_cell(name, *about) for name, about in CELLS.items())
    return f"{HEAD}A formula: $x < y$.\n\n{cells}"


def _cell(name, kind, grade, solution, task, points, source) -> str:
    locked = kind == "code" and not solution
    marks = {"grade": grade, "grade_id": name, "locked": locked, "schema_version": 3,
             "solution": solution, "task": task}  # fmt: skip
    marks |= {} if points is None else {"points": points}
    if kind == "markdown":
        return f"+++ {json.dumps({'nbgrader': marks})}\n\n{source}\n\n"
    lines = "\n".join(f"  {key}: {str(value).lower()}" for key, value in marks.items())
    return f"```{{code-cell}} ipython3\n---\nnbgrader:\n{lines}\n---\n{source}\n```\n"


@pytest.fixture(scope="session")
def released(tmp_path_factory) -> Path:
    """The course's folder, made once."""
    folder = tmp_path_factory.mktemp("released")
    (folder / "nbgrader_config.py").write_text(CONFIG)
    source = folder / "solutions" / LAB / f"{LAB}.md"
    source.parent.mkdir(parents=True)
    source.write_text(_source())
    release(folder, LAB)
    return folder


@pytest.fixture(scope="session")
def postgres(released):
    """The URL of a PostgreSQL on a socket in a temporary folder, with a gradebook's tables."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    programs = [shutil.which("initdb"), *map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
    initdb = next((Path(p) for p in programs if p and (Path(p).parent / "postgres").exists()), None)
    if initdb is None:
        pytest.skip("no PostgreSQL server is installed here (initdb and postgres)")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pg")))
        as_user = _unprivileged(folder)
        subprocess.run([*as_user, initdb, "-D", folder / "data", "-A", "trust", "-U", "postgres",
                        "-E", "UTF8", "--no-sync"], check=True, capture_output=True)  # fmt: skip
        command = [initdb.parent / "postgres", "-D", folder / "data", "-k", folder,
                   "-c", "listen_addresses=", "-c", "fsync=off"]  # fmt: skip
        process = subprocess.Popen([*as_user, *command], stderr=subprocess.DEVNULL)
        stack.callback(process.wait, 20)
        stack.callback(process.send_signal, signal.SIGQUIT)  # at once: nothing is to be kept
        url = _wait_for(folder)
        _create(released / "gradebook.db", url)
        yield url


def _unprivileged(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to become another")
    try:
        shutil.chown(folder, "postgres", "postgres")
    except LookupError:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]


def _wait_for(folder: Path) -> sqlalchemy.URL:
    url = sqlalchemy.URL.create(
        "postgresql+psycopg2", "postgres", database="postgres", query={"host": str(folder)}
    )
    for _ in range(200):
        try:
            sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect().close()
        except sqlalchemy.exc.OperationalError:
            time.sleep(0.1)
        else:
            return url
    raise RuntimeError(f"PostgreSQL did not start in {folder}")


def _create(sqlite: Path, url: sqlalchemy.URL) -> None:
    """Make a gradebook's tables, nbgrader's note of its version included."""
    here = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    Base.metadata.create_all(here)
    with sqlite3.connect(sqlite) as source, here.begin() as target:
        [(version,)] = source.execute("SELECT version_num FROM alembic_version")
        target.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        target.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{version}')")


def _fill(sqlite: Path, url: sqlalchemy.URL) -> None:
    """Let a gradebook hold what another one holds, and nothing else."""
    there = sqlalchemy.create_engine(f"sqlite:///{sqlite}", poolclass=sqlalchemy.NullPool)
    here = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    tables = Base.metadata.sorted_tables
    with there.connect() as source, here.begin() as target:
        target.exec_driver_sql(f"TRUNCATE {', '.join(table.name for table in tables)}")
        for table in tables:
            if found := [dict(row._mapping) for row in source.execute(table.select())]:
                target.execute(table.insert(), found)


@pytest.fixture
def on_sqlite(released, tmp_path) -> Classroom:
    """A fresh course with nbgrader's own database."""
    shutil.copytree(released, tmp_path, dirs_exist_ok=True)
    return Classroom(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def classroom(request, on_sqlite, tmp_path) -> Classroom:
    """A fresh course on either database."""
    if request.param == "sqlite":
        return on_sqlite
    url = request.getfixturevalue("postgres")
    _fill(tmp_path / "gradebook.db", url)
    with (tmp_path / "nbgrader_config.py").open("a") as config:
        config.write(f"c.CourseDirectory.db_url = {url.render_as_string()!r}\n")
    return Classroom(tmp_path)
