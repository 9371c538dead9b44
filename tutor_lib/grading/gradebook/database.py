"""The gradebook's database: one transaction at a time, on SQLite or PostgreSQL."""

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, NullPool, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

T = TypeVar("T")
TRIES = 6
WAIT = 30.0  # seconds that SQLite waits for another writer, at each try
# PostgreSQL: serialization failure, deadlock, lock not available.
PASSING = {"40001", "40P01", "55P03"}


def write(db_url: str, work: Callable[[Connection], T]) -> T:
    """Do `work` in one transaction, all or nothing, and again if another writer was in its way.

    Raises ValueError if there is no such gradebook, and RuntimeError if it stays busy.
    """
    with _engine(db_url, "BEGIN IMMEDIATE") as engine:
        for attempt in range(TRIES):
            try:
                with engine.begin() as connection:
                    return work(connection)
            except DBAPIError as error:
                if not _passes(error):
                    raise
                last = error
            # Not in step with the other writer, or both would meet again.
            time.sleep(random.uniform(0, 0.05 * 2**attempt))
    told = f"{_name(db_url)} stays busy: another program writes to it. Close it and start again."
    raise RuntimeError(told) from last


def read(db_url: str, work: Callable[[Connection], T]) -> T:
    """Do `work`, which only reads.

    Raises ValueError if there is no such gradebook.
    """
    with _engine(db_url, "BEGIN") as engine, engine.begin() as connection:
        return work(connection)


@contextlib.contextmanager
def _engine(db_url: str, begin: str) -> Iterator[Engine]:
    url = make_url(db_url)
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite and not (url.database and Path(url.database).is_file()):
        raise ValueError(f"no gradebook {_name(db_url)}; `make labs` makes one")
    options = {"connect_args": {"timeout": WAIT}} if sqlite else {}
    engine = create_engine(url, poolclass=NullPool, **options)
    if sqlite:
        _begin_with(engine, begin)
    try:
        yield engine
    finally:
        engine.dispose()


def _begin_with(engine: Engine, statement: str) -> None:
    """Python's sqlite3 begins late and only to write, so that two writers can both have read
    what each then changes. With BEGIN IMMEDIATE the second one waits before it reads.
    """

    @event.listens_for(engine, "connect")
    def _no_begin_of_its_own(connection: Any, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)


def _passes(error: DBAPIError) -> bool:
    """Whether another try may succeed: someone else wrote the same, or holds a lock."""
    if isinstance(error, IntegrityError):
        return True
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    locked = isinstance(error, OperationalError) and "database is locked" in str(error.orig)
    return locked or state in PASSING


def _name(db_url: str) -> str:
    return make_url(db_url).render_as_string(hide_password=True)
