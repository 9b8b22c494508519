"""A firm's way from SQLite to PostgreSQL, and the empty place that a firm may be brought into.

Everything happens in one transaction of PostgreSQL: the tables, the rows, the comparison. Whenever it is cut off, the
place is as empty as before. The old file is only read; a mark beside it keeps anybody from going on with it, and stands
there before the commit: two bots on two databases would be worse than none.
"""

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError, OperationalError

from rules.people import Part, system
from storage import table_copy
from storage.database import Database, Work
from storage.engines import DatabaseAway, kept_out, moved_mark
from storage.files import force
from storage.health import damage_of
from storage.migrate import current, knows, migrate_within, newest, revision_of
from storage.table_copy import Content, Progress


class NotEmpty(Exception):
    """The database that is to be filled has something in it. The argument names the tables."""


class InUse(Exception):
    """Somebody else is at work in the database that is to be filled."""


class OtherRevision(Exception):
    """Tables of another version. `newer`: this program does not know them. `where`: source or target."""

    def __init__(self, where: str, revision: str | None, *, newer: bool) -> None:
        super().__init__(where, revision)
        self.where, self.revision, self.newer = where, revision, newer


class Damaged(Exception):
    """The SQLite file is damaged. The argument says how."""


class _OnlyTried(Exception):
    """Takes back what a trial wrote."""


def move(
    path: Path,
    target: Database,
    now: datetime,
    *,
    dry_run: bool = False,
    progress: Progress = lambda done, total: None,
) -> dict[str, Content]:
    """Bring the firm in the SQLite file `path` into PostgreSQL; what each table holds.

    With `dry_run` everything is done and compared, and then taken back. Raises DatabaseBusy while a bot has the file,
    and NotEmpty, InUse, OtherRevision, Damaged, DatabaseAway, table_copy.Unfit, table_copy.Differs, OSError.
    """
    with kept_out(path), closing(Database(f"sqlite:///{path}", reads_only=True)) as source:
        check_revision(source)
        found = damage_of(source)
        if found:
            raise Damaged("; ".join(found[:3]))
        moved: dict[str, Content] = {}
        with suppress(_OnlyTried), source.read(system(Part.CONSOLE)) as old, empty_place(target) as new:
            moved = table_copy.copy(old, new, progress)
            if dry_run:
                raise _OnlyTried
            _mark(path, target, now)
    return moved


def check_revision(source: Database) -> None:
    """Raises OtherRevision unless the tables are those of this version."""
    revision = current(source)
    if revision != newest():
        raise OtherRevision("source", revision, newer=revision is not None and not knows(revision))


@contextmanager
def empty_place(database: Database) -> Iterator[Work]:
    """A transaction in a PostgreSQL database without rows, in which the tables are made and nobody else writes.

    Raises NotEmpty, InUse, OtherRevision, and DatabaseAway where the server goes away before the end.
    """
    with _told_when_lost(database), database.connection() as connection:
        if _our_revision(connection) != newest():
            migrate_within(connection)
        with closing(database.on(connection, system(Part.CONSOLE))) as work:
            table_copy.set_idle_limit_aside(work)
            _alone_with_the_tables(work)
            rows = table_copy.filled(work)
            if rows:
                raise NotEmpty(", ".join(rows[:3]))
            yield work
            work.flush()


@contextmanager
def _told_when_lost(database: Database) -> Iterator[None]:
    try:
        yield
    except DBAPIError as trouble:
        if not trouble.connection_invalidated:
            raise
        raise DatabaseAway(database.url.render_as_string(hide_password=True)) from None


def check_empty(database: Database) -> None:
    """Raises NotEmpty, InUse or OtherRevision at once, so that nobody waits for the end to be told."""
    with database.connection() as connection:
        if _our_revision(connection) is None:
            return
    with suppress(_OnlyTried), empty_place(database):
        raise _OnlyTried


def _our_revision(connection: Connection) -> str | None:
    """At which revision; None where there is no table at all."""
    revision = revision_of(connection)
    if revision is None:
        foreign = sorted(inspect(connection).get_table_names())
        if foreign:
            raise NotEmpty(", ".join(foreign[:3]))
    elif not knows(revision):
        raise OtherRevision("target", revision, newer=True)
    return revision


def _alone_with_the_tables(work: Work) -> None:
    """Whoever has one of them in hand at this moment is a bot that must not be there."""
    names = ", ".join(f'"{table.name}"' for table in table_copy.tables())
    try:
        work.run(text(f"lock table {names}, procrastinate_jobs in exclusive mode nowait"))
    except OperationalError:
        raise InUse from None


def _mark(path: Path, target: Database, now: datetime) -> None:
    mark = moved_mark(path)
    arriving = Path(f"{mark}.part")
    told = {"to": target.url.render_as_string(hide_password=True), "at": now.isoformat()}
    with arriving.open("w", encoding="utf-8") as out:
        json.dump(told, out)
        out.flush()
        os.fsync(out.fileno())
    os.replace(arriving, mark)
    force(path.parent)
