"""Bringing a database's tables to the shape this version wants: Alembic called from code, all in one transaction; then
the indexes of tables that are long already (storage.indexes).

Alembic is loaded only where there is something to walk: a start that finds the newest shape does without its 12 MB.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, column, func, inspect, select, table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from storage import indexes
from storage.database import INSERTS, Database
from storage.tables import Base
from storage.tables.columns import plain
from storage.tables.firm import OF_THE_TABLES, RevisionRow

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

_MIGRATING = 0x5A4F5544  # the number of the lock: any that nobody else uses
SCRIPTS = Path(__file__).parent / "migrations"
_VERSION: Select[Any] = select(column("version_num")).select_from(table("alembic_version"))


class BrokenReferences(Exception):
    """A migration left rows that point to nothing; it was rolled back. The argument names the tables."""


class MadeByNewer(Exception):
    """A newer version changed the tables so that this one cannot work on them. The argument is their revision."""


# The oldest program, by the newest revision it knows, that can still work on the tables of this version. Raised only
# by a release that takes something away (expand, then contract: docs/operations.md).
OLDEST_PROGRAM = 12
INDEXES_LATER = "indexes_later"  # a migration that is told so leaves them to storage.indexes
_NUMBERS = plain(RevisionRow)


def migrate(database: Database, scripts: Path = SCRIPTS, tell: indexes.Tell = indexes.silent) -> None:
    """Walk up to the newest shape. A database that is there already is not touched, nor one that a newer version has
    only widened: old and new run side by side during an upgrade. Raises MadeByNewer where that cannot be.
    `tell`: see storage.indexes.build.
    """
    found = current(database)
    if found == _last(scripts):
        return
    if found is not None and not knows(found, scripts):
        if not fits(database, scripts):
            raise MadeByNewer(found)
        return
    with _alembic(database, scripts) as config:
        config.attributes[INDEXES_LATER] = database.shared and found is not None
        _walk_up(config)
    indexes.build(database, tell)


def _walk_up(config: "Config") -> None:
    """To the newest shape, which says which programs can work on it."""
    from alembic import command  # noqa: PLC0415

    command.upgrade(config, "head")
    connection: Connection = config.attributes["connection"]
    oldest = INSERTS[connection.dialect.name](_NUMBERS).values(name=OF_THE_TABLES, number=OLDEST_PROGRAM)
    connection.execute(oldest.on_conflict_do_update(index_elements=["name"], set_={"number": oldest.excluded.number}))


def fits(database: Database, scripts: Path = SCRIPTS) -> bool:
    """Whether this version can work on tables that a newer one has made."""
    with database.connection() as connection:
        oldest = connection.scalar(select(_NUMBERS.c.number).where(_NUMBERS.c.name == OF_THE_TABLES))
    return oldest is not None and int(_last(scripts) or 0) >= oldest


def migrate_within(connection: Connection, scripts: Path = SCRIPTS) -> None:
    """As `migrate`, in a transaction that is open already and commits or rolls back with it. For PostgreSQL, whose
    tables can be made in the transaction that fills them.
    """
    connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
    config = _config(scripts)
    config.attributes["connection"] = connection
    _walk_up(config)


def revision_of(connection: Connection) -> str | None:
    """As `current`, on a connection that is open."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(_VERSION)
    return revision


def migrate_down(database: Database, revision: str = "base", scripts: Path = SCRIPTS) -> None:
    """Walk back to an older shape; what only newer tables hold is lost."""
    from alembic import command  # noqa: PLC0415

    with _alembic(database, scripts) as config:
        command.downgrade(config, revision)


def current(database: Database) -> str | None:
    """The revision a database is at; None for one without our tables."""
    with database.connection() as connection:
        return revision_of(connection)


def newest(scripts: Path = SCRIPTS) -> str | None:
    return _directory(scripts).get_current_head()


def _last(scripts: Path) -> str | None:
    """The newest revision by the names of the files alone, which begin with their revision, one above the other."""
    names = sorted(path.name for path in (scripts / "versions").glob("[0-9]*_*.py"))
    return names[-1].partition("_")[0] if names else None


def knows(revision: str | None, scripts: Path = SCRIPTS) -> bool:
    """Whether this version can walk on from there; not from what a newer version made."""
    return revision in {script.revision for script in _directory(scripts).walk_revisions()}


def differences(database: Database) -> list[object]:
    """How the tables of a database differ from storage.tables; empty when they are the same."""
    from alembic.autogenerate import compare_metadata  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415

    with database.connection() as connection:
        ours = {"include_name": _ours}
        return list(compare_metadata(MigrationContext.configure(connection, opts=ours), Base.metadata))


def _ours(name: str | None, kind: str, _parents: object) -> bool:
    return kind != "table" or not (name or "").startswith("procrastinate_")


@contextmanager
def _alembic(database: Database, scripts: Path) -> Iterator["Config"]:
    config = _config(scripts)
    with _references_unchecked(database), database.connection() as connection:
        if connection.dialect.name == "postgresql":  # several processes may start at once: one migrates, the rest wait
            connection.execute(select(func.pg_advisory_xact_lock(_MIGRATING)))
        config.attributes["connection"] = connection
        try:
            yield config
        except IntegrityError as trouble:
            raise BrokenReferences(str(trouble.orig)) from None
        _check_references(connection)


def _directory(scripts: Path) -> "ScriptDirectory":
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    return ScriptDirectory.from_config(_config(scripts))


def _config(scripts: Path) -> "Config":
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(scripts).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _references_unchecked(database: Database) -> Iterator[None]:
    """SQLite remakes a table to alter it, and dropping the old one would count as deleting what others point to.

    The switch works outside of a transaction only, and on the one writing connection there is.
    """
    if database.url.get_backend_name() != "sqlite":
        yield
        return
    _switch(database, "OFF")
    try:
        yield
    finally:
        _switch(database, "ON")


def _switch(database: Database, state: str) -> None:
    raw = database.writer.raw_connection()
    try:
        raw.cursor().execute(f"PRAGMA foreign_keys={state}")
    finally:
        raw.close()


def _check_references(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        broken = {str(row[0]) for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
        if broken:
            raise BrokenReferences(", ".join(sorted(broken)))
