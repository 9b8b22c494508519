"""Opening the database, and the one way in: `with database.work() as work`, which commits on a clean exit.

On SQLite exactly one connection ever writes and checkpoints (the pool of one makes callers queue in order of
arrival), a file lock keeps a second process out, and readers are `query_only`. That is fair to many callers, and it
removes the precondition of SQLite's WAL-reset bug (SQLite before 3.51.3 with two writing connections).
"""

import fcntl
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000", "trusted_schema=OFF")


class DatabaseBusy(Exception):
    """Another process has this SQLite file open for writing. The argument is the file."""


class Work:
    """One unit of work: one transaction. Only `Database.work` commits it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._afterwards: list[Callable[[], None]] = []

    def afterwards(self, call: Callable[[], None]) -> None:
        """Run `call` once the transaction is committed, never if it is rolled back."""
        self._afterwards.append(call)

    def committed(self) -> None:
        for call in self._afterwards:
            call()


class Database:
    """A firm's database. `url` is an SQLAlchemy URL; for SQLite the folder of the file must exist.

    With `reads_only` nothing can be written, and the file of a running bot may be looked at beside it.
    """

    def __init__(self, url: str, *, reads_only: bool = False) -> None:
        self.url = make_url(url)
        self._lock = None
        if self.url.get_backend_name() == "sqlite" and reads_only:
            self.writer = self.reader = _sqlite_engine(url, reads_only=True)
        elif self.url.get_backend_name() == "sqlite":
            self._lock = _lock_file(Path(str(self.url.database) + ".lock"))
            self.writer = _sqlite_engine(url, reads_only=False)
            self.reader = _sqlite_engine(url, reads_only=True)
        else:
            self.writer = self.reader = create_engine(url, pool_size=8, max_overflow=0, pool_pre_ping=True)

    @contextmanager
    def work(self) -> Iterator[Work]:
        """A transaction that may write; commits when the block ends cleanly, else rolls back."""
        with Session(self.writer, expire_on_commit=False) as session:
            work = Work(session)
            with session.begin():
                yield work
        work.committed()

    @contextmanager
    def read(self) -> Iterator[Work]:
        """A consistent look at the database; writing in it is an error."""
        with Session(self.reader, expire_on_commit=False) as session, session.begin():
            yield Work(session)

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """The writing connection itself, for migrations."""
        with self.writer.begin() as connection:
            yield connection

    @property
    def version(self) -> str:
        """Which engine this is, for the log."""
        dialect = self.url.get_backend_name()
        return f"SQLite {sqlite3.sqlite_version}" if dialect == "sqlite" else dialect

    def close(self) -> None:
        self.reader.dispose()
        self.writer.dispose()
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _lock_file(path: Path) -> Any:
    """Held until the process ends, however it ends: the kernel frees it even after a kill."""
    handle = path.open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise DatabaseBusy(str(path.with_suffix(""))) from None
    return handle


def _sqlite_engine(url: str, *, reads_only: bool) -> Engine:
    engine = create_engine(
        url,
        pool_size=4 if reads_only else 1,
        max_overflow=0,
        pool_timeout=60,
        connect_args={"check_same_thread": False},
    )

    def prepare(dbapi: Any, _record: object) -> None:
        dbapi.isolation_level = None  # the driver's own BEGIN would come too late for "BEGIN IMMEDIATE"
        for pragma in _PRAGMAS:
            dbapi.execute(f"PRAGMA {pragma}")
        if reads_only:
            dbapi.execute("PRAGMA query_only=ON")
            dbapi.execute("PRAGMA wal_autocheckpoint=0")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if reads_only else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


@contextmanager
def kept_out(path: Path) -> Iterator[None]:
    """While this lasts no process opens the SQLite file for writing. DatabaseBusy where one has it already."""
    handle = _lock_file(Path(f"{path}.lock"))
    try:
        yield
    finally:
        handle.close()


def remove_sqlite(path: Path) -> None:
    """Delete a throw-away SQLite database with its side files."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        with suppress(FileNotFoundError):
            Path(str(path) + suffix).unlink()
