"""How each database is opened: its address, its settings, its JSON, and who may have it at a time."""

import fcntl
import json
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import from_json as read_json
from sqlalchemy import create_engine, event, make_url
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.exc import ArgumentError, OperationalError

_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=10000", "trusted_schema=OFF")

# A process that was stopped, or whose machine is gone, must not keep what it had locked: the server ends a
# transaction that nobody goes on with, and notices within half a minute that the other side is dead.
_POSTGRES_OPTIONS = {
    "idle_in_transaction_session_timeout": "20s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "timezone": "UTC",
    # The policies of the scope make every plan look dear, so that the server would compile each before it runs it.
    "jit": "off",
}
_POSTGRES_CONNECTIONS = 8  # kept open; as many again while it is busy


class DatabaseBusy(Exception):
    """Another process has this SQLite file open for writing. The argument is the file."""


class DatabaseMoved(Exception):
    """The firm of this SQLite file was moved to PostgreSQL. Arguments: the mark that says so, and where to."""


class DatabaseAway(Exception):
    """The PostgreSQL server does not answer or lets nobody in. The argument is its address, without the password."""


class NoDriver(Exception):
    """The library for PostgreSQL is not installed (the extra `postgres`)."""


def moved_mark(path: Path) -> Path:
    """What stands beside a SQLite file whose firm lives on PostgreSQL now, so that nobody goes on with the old one."""
    return Path(f"{path}.moved")


def moved_to(mark: Path) -> str:
    """Where to, without the password; ? where the mark cannot be read."""
    try:
        return str(json.loads(mark.read_text(encoding="utf-8"))["to"])
    except (OSError, ValueError, KeyError, TypeError):
        return "?"


def shown(url: str) -> str:
    """The URL of a database as people may see it."""
    return known(url).render_as_string(hide_password=True)


def password_in(url: str) -> str:
    """The password in a database's URL, to be kept out of logs; empty where there is none."""
    try:
        return make_url(url).password or ""
    except ArgumentError:
        return ""


def known(url: str) -> URL:
    """Raises DatabaseAway for what is no URL of a database that we can use, without repeating it."""
    try:
        made = make_url(url)
    except ArgumentError:
        raise DatabaseAway("?") from None
    if made.get_backend_name() not in ("sqlite", "postgresql"):
        raise DatabaseAway(f"{made.get_backend_name()}://")
    return made


def lock_file(path: Path) -> Any:
    """Held until the process ends, however it ends: the kernel frees it even after a kill."""
    handle = path.open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise DatabaseBusy(str(path.with_suffix(""))) from None
    return handle


# Both engines hide parameters: what people wrote would stand in every error of the database, and so in the log.


def sqlite_engine(url: str, *, reads_only: bool) -> Engine:
    engine = create_engine(
        url,
        pool_size=4 if reads_only else 1,
        max_overflow=0,
        pool_timeout=60,
        hide_parameters=True,  # an error does not repeat what somebody wrote
        json_deserializer=from_json,
        connect_args={"check_same_thread": False, "cached_statements": 512},  # each is spelt for several reaches
    )

    # SQLAlchemy compiles a clause for each savepoint, as each has a name of its own: that takes three times as long.
    spelt = {"do_savepoint": "SAVEPOINT", "do_rollback_to_savepoint": "ROLLBACK TO", "do_release_savepoint": "RELEASE"}
    for method, words in spelt.items():
        setattr(engine.dialect, method, partial(_by_the_driver, words))

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


def _by_the_driver(words: str, connection: Connection, name: str) -> None:
    connection.exec_driver_sql(f"{words} {name}")


def session_name(holder: str) -> str:
    """What the connections of a process are called on the server, so that others see whether it lives."""
    return f"zoudian-{holder}"


def postgres_engine(url: URL, holder: str) -> Engine:
    """Opens one connection at once, so that a wrong address is told when the program starts."""
    shown = url.render_as_string(hide_password=True)
    if url.drivername == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    options = " ".join(f"-c {name}={value}" for name, value in _POSTGRES_OPTIONS.items())
    try:
        engine = create_engine(
            url,
            pool_size=_POSTGRES_CONNECTIONS,
            max_overflow=_POSTGRES_CONNECTIONS,
            pool_timeout=60,
            pool_pre_ping=True,
            hide_parameters=True,
            json_serializer=as_standard_json,
            json_deserializer=from_json,
            connect_args={"options": options, "connect_timeout": 10, "application_name": session_name(holder)},
        )
    except ModuleNotFoundError:
        raise NoDriver from None
    try:
        engine.connect().close()
    except OperationalError:
        engine.dispose()
        raise DatabaseAway(shown) from None
    return engine


def as_standard_json(value: Any) -> str:
    """JSON as the standard has it: PostgreSQL refuses Infinity and NaN, which Python writes and SQLite keeps. In their
    place stands the greatest number there is, which no rule takes for a position or an amount either.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), allow_nan=False)


def from_json(data: str | bytes) -> Any:
    """As json.loads, in a third of the time and less. What is no JSON by the standard (half a surrogate pair, which
    Python writes too) Python reads itself: a text holding one, which has no UTF-8, is a TypeError to the fast reader.
    """
    try:
        return read_json(data)
    except (ValueError, TypeError):
        return json.loads(data)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return math.copysign(sys.float_info.max, value)
    return value


@contextmanager
def kept_out(path: Path) -> Iterator[None]:
    """While this lasts no process opens the SQLite file for writing. DatabaseBusy where one has it already."""
    handle = lock_file(Path(f"{path}.lock"))
    try:
        yield
    finally:
        handle.close()


def remove_sqlite(path: Path) -> None:
    """Delete a throw-away SQLite database with its side files."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        with suppress(FileNotFoundError):
            Path(str(path) + suffix).unlink()
