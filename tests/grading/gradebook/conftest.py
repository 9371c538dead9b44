"""A tiny course in a folder of its own, on SQLite and on a PostgreSQL server that lives as long
as the tests."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy
from nbgrader.api import Base

from tests.grading.gradebook.classroom import LAB, Classroom
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
    head = """\
        ---
        jupytext:
          text_representation:
            format_name: myst
        kernelspec:
          display_name: Python 3
          language: python
          name: python3
        ---

        # Tiny

        A formula: $x < y$.

        """
    return textwrap.dedent(head) + "\n".join(_cell(name, *about) for name, about in CELLS.items())


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


class Server(NamedTuple):
    """A running PostgreSQL, with a database that is copied for each test."""

    url: sqlalchemy.URL

    def run(self, statement: str) -> None:
        engine = sqlalchemy.create_engine(self.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(statement))
        engine.dispose()


@pytest.fixture(scope="session")
def postgres(released):
    """PostgreSQL on a socket in a temporary folder, which holds the released course."""
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
        server = Server(_wait_for(folder))
        server.run("CREATE DATABASE released")
        _copy(released / "gradebook.db", server.url.set(database="released"))
        yield server


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


def _copy(sqlite: Path, url: sqlalchemy.URL) -> None:
    """Copy a gradebook, nbgrader's note of its version included."""
    there, here = sqlalchemy.create_engine(f"sqlite:///{sqlite}"), sqlalchemy.create_engine(url)
    version = sqlalchemy.Table("alembic_version", sqlalchemy.MetaData(), autoload_with=there)
    Base.metadata.create_all(here)
    version.create(here)
    with there.connect() as source, here.begin() as target:
        for table in [*Base.metadata.sorted_tables, version]:
            if found := [dict(row._mapping) for row in source.execute(table.select())]:
                target.execute(table.insert(), found)
    here.dispose()


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
    server = request.getfixturevalue("postgres")
    name = "".join(c for c in tmp_path.name if c.isalnum()).lower()[-50:]
    server.run(f'CREATE DATABASE "{name}" TEMPLATE released')
    url = server.url.set(database=name).render_as_string()
    with (tmp_path / "nbgrader_config.py").open("a") as config:
        config.write(f"c.CourseDirectory.db_url = {url!r}\n")
    return Classroom(tmp_path)
